"""Faces: MTCNN at detection size, boxes in native px as displayed, largest first."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from mrigan.config import FacesConfig
from mrigan.errors import InputError
from mrigan.imaging.coordinates import GRID
from mrigan.video import (
    INFERENCE_THRESHOLDS,
    FaceDetector,
    FaceTable,
    TruncatedVideo,
    faces_key,
    find_faces,
    read_faces,
    read_frames,
    write_faces,
)
from mrigan.video.areas import OutsideError
from mrigan.video.face import PROB_GRID, Detection
from mrigan.video.tracks import iou
from tests.clips import counter_frames, write_clip

CONFIG = FacesConfig()


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return FaceDetector(CONFIG)


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """The public-domain portrait of Eileen Collins, 512 × 512; her face is about 80 px wide at (225, 115)."""
    return data.astronaut()


def by_library(image: np.ndarray, config: FacesConfig) -> np.ndarray:
    """The oracle: facenet-pytorch's own call, with a PIL picture, at full size."""
    from facenet_pytorch import MTCNN
    from PIL import Image

    mtcnn = MTCNN(keep_all=True, min_face_size=config.min_face, thresholds=config.thresholds, factor=config.factor)
    boxes, probs, points = mtcnn.detect(Image.fromarray(image), landmarks=True)
    columns = (boxes.reshape(-1, 4), probs.reshape(-1, 1), points.reshape(-1, 10))
    return np.concatenate([c.astype(float) for c in columns], axis=1)


def test_at_full_size_the_faces_are_those_of_the_library(astronaut: np.ndarray, detector: FaceDetector) -> None:
    ((face,),) = detector.detect([astronaut])
    (oracle,) = by_library(astronaut, CONFIG)
    half = GRID / 2 + 1e-3
    np.testing.assert_allclose(face.box, oracle[:4], atol=half)
    assert face.prob == pytest.approx(oracle[4], abs=1e-5)
    np.testing.assert_allclose(np.ravel(face.points), oracle[5:], atol=half)


def test_detection_runs_small_and_boxes_are_native(astronaut: np.ndarray, detector: FaceDetector) -> None:
    large = cv2.resize(astronaut, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    ((small_face,),) = detector.detect([astronaut])
    ((face,),) = detector.detect([large])
    np.testing.assert_allclose(np.array(face.box) / 4, small_face.box, atol=4)
    assert all(face.box[0] < x < face.box[2] and face.box[1] < y < face.box[3] for x, y in face.points)
    full = FaceDetector(dataclasses.replace(CONFIG, long_side=0))
    assert iou(full.detect([large])[0][0].box, face.box) > 0.85


def test_many_faces_largest_first_and_capped(astronaut: np.ndarray) -> None:
    face = astronaut[30:230, 130:330]
    canvas = np.full((420, 640, 3), 127, np.uint8)
    for x, y, size in ((10, 20, 120), (150, 10, 200), (380, 20, 250), (20, 240, 160)):
        canvas[y : y + size, x : x + size] = cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)
    faces = FaceDetector(CONFIG).detect([canvas])[0]
    assert len(faces) == 4
    assert [f.area for f in faces] == sorted((f.area for f in faces), reverse=True)
    two = FaceDetector(dataclasses.replace(CONFIG, max_persons=2)).detect([canvas])[0]
    np.testing.assert_allclose(values(two), values(faces[:2]), rtol=0, atol=GRID)


def values(faces: list[Detection]) -> np.ndarray:
    """(n, 15): box, probability, points."""
    return np.array([[*f.box, f.prob, *np.ravel(f.points)] for f in faces])


def test_the_same_pictures_give_the_same_boxes_alone_or_together(astronaut: np.ndarray, detector: FaceDetector) -> None:
    other = np.ascontiguousarray(astronaut[:, ::-1])
    alone = [values(detector.detect([image])[0]) for image in (astronaut, other)]
    batched = FaceDetector(CONFIG)
    batched.batch = 8  # as on a GPU
    for fresh in (detector, batched, FaceDetector(CONFIG)):
        for one, many in zip(alone, fresh.detect([astronaut, other]), strict=True):
            np.testing.assert_allclose(values(many), one, rtol=0, atol=GRID)  # halfway, either step is right


def test_detections_lie_on_the_grid(astronaut: np.ndarray, detector: FaceDetector) -> None:
    large = cv2.resize(astronaut, (1111, 1111))  # searched at 640 px
    for faces in detector.detect([astronaut, large]):
        assert faces
        for row in values(faces):
            steps = row / np.where(np.arange(15) == 4, PROB_GRID, GRID)
            np.testing.assert_array_equal(steps, np.rint(steps))


@pytest.mark.parametrize("shape", [(1, 1), (5, 400), (12, 12), (19, 19), (20, 20), (21, 4000), (64, 64)])
def test_pictures_without_a_face(shape: tuple[int, int], detector: FaceDetector) -> None:
    rng = np.random.default_rng(0)
    for image in (np.zeros((*shape, 3), np.uint8), rng.integers(0, 256, (*shape, 3), dtype=np.uint8)):
        assert detector.detect([image]) == [[]]
    assert detector.detect([]) == []


def test_a_face_at_the_edge_stays_inside_the_frame(astronaut: np.ndarray) -> None:
    detector = FaceDetector(CONFIG, thresholds=(0.5, 0.5, 0.5))
    for image in (astronaut[:, 195:], astronaut[90:], astronaut[:, :270], astronaut[:180, 200:300]):
        h, w = image.shape[:2]
        for face in detector.detect([np.ascontiguousarray(image)])[0]:
            x0, y0, x1, y1 = face.box
            assert 0 <= x0 < x1 <= w
            assert 0 <= y0 < y1 <= h


def test_a_candidate_outside_the_picture_is_no_crash(astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The box regression may move a candidate wholly out of the picture (facenet-pytorch then fails): tried padded."""
    detector = FaceDetector(CONFIG)
    inner, calls = detector._mtcnn, []

    def failing(images: list[np.ndarray]) -> list:
        calls.append(images[0].shape)
        if len(calls) == 1:
            raise OutsideError
        return inner(images)

    monkeypatch.setattr(detector, "_mtcnn", failing)
    ((face,),) = detector.detect([astronaut])
    assert calls == [(512, 512, 3), (640, 640, 3)]
    assert iou(face.box, FaceDetector(CONFIG).detect([astronaut])[0][0].box) > 0.9


def test_a_border_around_one_picture_leaves_the_others_alone(
    astronaut: np.ndarray, detector: FaceDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = np.ascontiguousarray(astronaut[:, ::-1])
    (alone,) = detector.detect([other])
    fussy = FaceDetector(CONFIG)
    inner = fussy._mtcnn

    def failing(images: list[np.ndarray]) -> list:
        if any(np.array_equal(image, astronaut) for image in images):
            raise OutsideError
        return inner(images)

    monkeypatch.setattr(fussy, "_mtcnn", failing)
    first, ((padded,), last) = fussy.detect([other])[0], fussy.detect([astronaut, other])
    for found in (first, last):
        np.testing.assert_allclose(values(found), values(alone), rtol=0, atol=GRID)
    assert iou(padded.box, detector.detect([astronaut])[0][0].box) > 0.9


def test_boxes_that_are_not_numbers_are_dropped(astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = FaceDetector(CONFIG)
    bad = [[np.nan, 0, 9, 9, 1], [5, 5, 5.5, 40, 1], [600, 600, 700, 700, 1], [9, 9, 4, 4, 1]]
    boxes = np.array([*bad, [1, 1, 9, 9, 1]])
    monkeypatch.setattr(detector, "_mtcnn", lambda images: [(boxes, np.ones((5, 5, 2)))])
    assert [f.box for f in detector.detect([astronaut])[0]] == [(1, 1, 9, 9)]


def test_inference_thresholds_find_at_least_as_much(astronaut: np.ndarray, detector: FaceDetector) -> None:
    blurred = cv2.GaussianBlur(cv2.resize(astronaut, (256, 256)), (0, 0), 2)
    lenient = FaceDetector(CONFIG, thresholds=INFERENCE_THRESHOLDS).detect([blurred, astronaut])
    strict = detector.detect([blurred, astronaut])
    assert all(len(many) >= len(few) for many, few in zip(lenient, strict, strict=True))
    assert lenient[1]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_boxes_of_a_turned_clip_are_as_displayed(
    tmp_path: Path, astronaut: np.ndarray, detector: FaceDetector, degrees: int
) -> None:
    shown = astronaut[:400, 50:450]
    upright = find_faces(read_frames(write_clip(tmp_path / "up.mp4", [shown] * 3), every=2), detector)
    stored = np.rot90(shown, -degrees // 90)
    turned = find_faces(
        read_frames(write_clip(tmp_path / "turned.mp4", [stored] * 3, rotation=degrees), every=2), detector
    )
    assert len(upright.faces) == len(turned.faces) == 2
    for a, b in zip(upright.faces, turned.faces, strict=True):
        assert (a.frame, a.person) == (b.frame, b.person)
        np.testing.assert_allclose(a.box, b.box, atol=4)


def test_grey_video(tmp_path: Path, astronaut: np.ndarray, detector: FaceDetector) -> None:
    path = write_clip(tmp_path / "grey.mkv", [astronaut] * 2, codec="ffv1", pix_fmt="gray")
    table = find_faces(read_frames(path, every=1), detector)
    assert [(f.frame, f.person) for f in table.faces] == [(0, 0), (1, 0)]


def test_a_clip_without_a_face_is_an_empty_table(tmp_path: Path, detector: FaceDetector) -> None:
    path = write_clip(tmp_path / "none.mp4", counter_frames(25))
    assert find_faces(read_frames(path), detector) == FaceTable([], 3, (192, 128), "")


def test_a_cut_off_clip_keeps_the_faces_of_its_good_frames(
    tmp_path: Path, astronaut: np.ndarray, detector: FaceDetector
) -> None:
    small = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    path = write_clip(tmp_path / "cut.mp4", [small] * 6, codec="mjpeg", pix_fmt="yuvj420p", movflags="faststart")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with pytest.raises(TruncatedVideo):
        list(read_frames(path))
    table = find_faces(read_frames(path, every=1), detector)
    assert [f.frame for f in table.faces] == [0, 1]  # of the third, a part is there
    assert table.frames == 2
    assert "cut off" in table.note
    (tmp_path / "zero.mp4").touch()
    with pytest.raises(InputError, match="empty"):
        find_faces(read_frames(tmp_path / "zero.mp4"), detector)


def test_tables_come_back_exactly(tmp_path: Path, astronaut: np.ndarray, detector: FaceDetector) -> None:
    frames = [np.roll(astronaut, 3 * i, axis=1) for i in range(3)]
    table = find_faces(read_frames(write_clip(tmp_path / "a.mp4", frames), every=1), detector)
    path = tmp_path / "faces.parquet"
    for t in (dataclasses.replace(table, note="cut off"), FaceTable([], 0, (0, 0), "")):
        write_faces(path, t, "key")
        assert read_faces(path, "key") == t
    first = path.read_bytes()
    write_faces(path, FaceTable([], 0, (0, 0), ""), "key")
    assert path.read_bytes() == first
    with pytest.raises(InputError, match="another clip"):
        read_faces(path, "other")
    path.write_bytes(first[:-20])
    with pytest.raises(InputError, match="no readable table"):
        read_faces(path)
    with pytest.raises(InputError, match="no readable table"):
        read_faces(tmp_path / "none.parquet")


def test_the_key_follows_content_and_settings_that_find_faces(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(200_000))
    key = faces_key(path, "dfdc/-/-/a", CONFIG)
    assert key == faces_key(path, "dfdc/-/-/a", FacesConfig())
    for change in (
        {"every": 5},
        {"long_side": 0},
        {"min_face": 30},
        {"thresholds": [0.7, 0.8, 0.8]},
        {"factor": 0.8},
        {"max_persons": 1},
    ):
        assert faces_key(path, "dfdc/-/-/a", dataclasses.replace(CONFIG, **change)) != key
    for change in ({"margin": 0.3}, {"size": 128}):
        assert faces_key(path, "dfdc/-/-/a", dataclasses.replace(CONFIG, **change)) == key
    assert faces_key(path, "dfdc/-/-/b", CONFIG) != key
    path.write_bytes(bytes(199_999) + b"x")
    assert faces_key(path, "dfdc/-/-/a", CONFIG) != key
    with pytest.raises(InputError):
        faces_key(tmp_path / "none.mp4", "a", CONFIG)

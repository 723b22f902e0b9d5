"""Annotated copies: every frame at its time, boxes where the faces are, and the inputs as they were."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from mrigan.detect import Options
from mrigan.detect.annotate import FAKE, REAL, Faces, Shown, annotate, draw
from mrigan.detect.command import run
from mrigan.detect.inputs import Input
from mrigan.detect.options import Outputs
from mrigan.detect.sinks.copies import copy_paths
from mrigan.detect.verdict import FaceScore, Verdict
from mrigan.errors import ConfigError, InputError, OutputError
from mrigan.outputs import annotated_video, refuse_foreign
from tests.clips import write_clip

GREY = np.full((120, 200, 3), 90, np.uint8)


def verdict(path: Path, faces: list[tuple[int, int, float, float]]) -> Verdict:
    """Faces of (frame, person, left edge, prob), 40 px wide."""
    rows = tuple(FaceScore(f, 0.0, n, (x, 40.0, x + 40, 80.0), p) for f, n, x, p in faces)
    return Verdict(str(path), None, "fake", None, faces=rows)


def test_between_two_looks_a_box_moves_straight(tmp_path: Path) -> None:
    faces = Faces(
        verdict(tmp_path, [(0, 0, 0, 0.9), (10, 0, 20, 0.1), (10, 1, 100, 0.7), (20, 0, 30, 0.2), (60, 0, 0, 0.3)])
    )
    assert faces.on(0) == [Shown(0, (0, 40, 40, 80), 0.9, True)]
    assert faces.on(5) == [Shown(0, (10, 40, 50, 80), 0.9, False)]  # the probability is of what was looked at
    assert faces.on(10) == [Shown(0, (20, 40, 60, 80), 0.1, True), Shown(1, (100, 40, 140, 80), 0.7, True)]
    assert [shown.person for shown in faces.on(11)] == [0]  # the other was not seen again
    assert faces.on(40) == []  # out of sight for too long
    assert faces.on(61) == []


def test_the_drawing_is_a_copy_of_even_sides_with_the_box() -> None:
    picture = np.full((121, 201, 3), 90, np.uint8)
    drawn = draw(picture, [Shown(0, (50, 40, 90, 80), 0.9, True), Shown(1, (120, 40, 160, 80), 0.5, False)], 0.5)
    assert drawn.shape == (120, 200, 3)
    assert (picture == 90).all()
    for colour, x in ((FAKE, 50), (REAL, 120)):  # at the threshold a face is not above it
        assert (drawn[40:81, x] == colour).all()
        assert (drawn[40:81, x + 40] == colour).all()
    assert (drawn[45:76, 55:86] == 90).all()
    assert (drawn[90:] == 90).all()
    with pytest.raises(InputError, match="1 × 5"):
        draw(np.zeros((5, 1, 3), np.uint8), [], 0.5)


def test_labels_stay_inside_the_picture() -> None:
    for box in [(0, 0, 40, 40), (180, 0, 200, 30), (-5, 100, 30, 119), (0, 0, 199, 119)]:
        drawn = draw(GREY, [Shown(0, box, 0.9, True)], 0.5)
        assert (drawn == 0).all(2).sum() > 100  # the ground of the label


def test_each_frame_comes_at_its_time_without_sound(tmp_path: Path) -> None:
    times = [0, 0.04, 0.1, 0.3, 0.31, 0.5, 0.9, 1.0]
    source = write_clip(tmp_path / "v.mp4", [GREY] * len(times), pts=times, audio=True, options={"qp": "0"})
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    faces = [(i, 0, 20.0 + 10 * i, 0.9) for i in range(0, 8, 2)]
    assert annotate(verdict(source, faces), tmp_path / "out" / "a.mp4") == 8
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before
    with av.open(str(tmp_path / "out" / "a.mp4")) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264"]
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-4)
    for i, frame in enumerate(frames[:7]):
        image = frame.to_ndarray(format="rgb24").astype(int)
        red = np.flatnonzero((image[50:70, :, 0] - image[50:70, :, 2]).mean(0) > 50)
        assert (red.min(), red.max()) == pytest.approx((20 + 10 * i, 60 + 10 * i), abs=2)
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "a.mp4"]


def test_where_the_copies_go(tmp_path: Path) -> None:
    a, b, face = Input("x/v.mp4", False), Input("y/v.avi", False), Input("face.png", True)
    assert copy_paths([a], tmp_path / "o.mp4") == {a: tmp_path / "o.mp4"}
    assert copy_paths([a, b, face], tmp_path) == {a: tmp_path / "v.verdict.mp4", b: tmp_path / "v-2.verdict.mp4"}
    long = Input("ä" * 120 + ".mp4", False)
    assert len(copy_paths([long], tmp_path)[long].name.encode()) < 255
    with pytest.raises(ConfigError, match="several"):
        copy_paths([a, b], "o.mp4")
    with pytest.raises(ConfigError, match="picture"):
        copy_paths([face], "o.mp4")


def test_by_the_command(clips: Path, models: dict[str, Path], tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("two.mp4", "noface.mp4", "face.png"):
        shutil.copy(clips / name, folder / name)
    whole = (clips / "one.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) * 3 // 4])
    (folder / "broken.mp4").write_bytes(b"")
    model = str(models["fake"])
    assert run([str(folder)], model, Options(), Outputs(annotate=out), workers=1) == 3
    assert sorted(path.name for path in out.iterdir()) == [f"{n}.verdict.mp4" for n in ("cut", "noface", "two")]
    with av.open(str(out / "two.verdict.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 48
    video = folder / "two.mp4"
    before = video.read_bytes()
    with pytest.raises(ConfigError, match="overwrite an input"):
        run([str(video)], model, Options(), Outputs(annotate=video))
    assert video.read_bytes() == before
    other = tmp_path / "other.mp4"
    shutil.copy(clips / "short.mp4", other)
    with pytest.raises(OutputError, match="not an earlier output"):
        run([str(video)], model, Options(), Outputs(annotate=other))
    assert other.read_bytes() == (clips / "short.mp4").read_bytes()
    assert annotated_video(out / "two.verdict.mp4")
    refuse_foreign(other, annotated_video, force=True)

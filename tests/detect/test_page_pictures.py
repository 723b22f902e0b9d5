"""The pictures that are kept and drawn: bounded, and the MRI in its place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mrigan.detect.overlay import BOX, OPAQUE, boxed, colours, heated, legend, opacity
from mrigan.detect.pictures import SCENE, STRIP, TRACKS, Album, Example, FrameView
from mrigan.video import Detection

FACE = np.zeros((256, 256, 3), np.uint8)


def example(frame: int, prob: float, at: float = 0.0) -> Example:
    return Example(frame, (at, 0.0, at + 10, 10.0), prob, FACE)


def test_an_album_keeps_the_same_of_an_hour_as_of_a_minute() -> None:
    probs = np.random.default_rng(0).uniform(0, 0.9, 9000)
    probs[[17, 5000]] = 0.95, 0.99
    album = Album(4)
    for i, p in enumerate(probs):
        album.add(example(i, float(p)), track=0, time=i * 0.4)
    assert [e.frame for e in album.suspicious()] == np.argsort(-probs, kind="stable")[:4].tolist()
    [(best, strip)] = album.people()
    assert best.frame == 5000
    assert len(strip) == STRIP
    assert strip[0].face.shape == (96, 96, 3)
    steps = np.diff([e.frame for e in strip])
    assert strip[0].frame == 0
    assert steps.min() > 0
    assert steps.max() <= 2 * steps.min()  # evenly
    assert strip[-1].frame > 8000
    assert len(album._tracks[0].strip) <= 2 * STRIP


def test_few_faces_are_all_in_the_strip() -> None:
    album = Album(1)
    for i in range(STRIP):
        album.add(example(i, 0.5), track=3, time=i)
    [(_, strip)] = album.people()
    assert [e.frame for e in strip] == list(range(STRIP))


def test_of_a_crowd_those_who_are_there_longest_are_kept() -> None:
    album = Album(2)
    for i in range(2000):
        album.add(example(i, 0.5), track=0, time=float(i))  # there all the time
        album.add(example(i, 0.6, at=50), track=1 + i // 10, time=float(i))  # each there for ten seconds
        assert len(album._tracks) <= TRACKS
    assert 0 in album._tracks
    assert album._tracks[0].faces == 2000


def test_equally_suspicious_faces_stay_in_the_order_of_time() -> None:
    album = Album(3)
    for i in range(10):
        album.add(example(i, 0.5), track=0, time=i)
    assert [e.frame for e in album.suspicious()] == [0, 1, 2]


@pytest.mark.parametrize("size", [(1080, 1920), (1920, 1080), (200, 300)])
def test_a_scene_s_boxes_lie_on_the_same_pixels(size: tuple[int, int]) -> None:
    """A frame that is white inside the cut alone tells where the scaled boxes must be."""
    h, w = size
    box = (0.4 * w, 0.3 * h, 0.6 * w, 0.5 * h)
    x0, y0, x1, y1 = (int(v) for v in box)
    dx, dy = int((x1 - x0) * 0.1), int((y1 - y0) * 0.1)
    image = np.zeros((h, w, 3), np.uint8)
    image[y0 - dy : y1 + dy, x0 - dx : x1 + dx] = 255
    scene = FrameView(image).scene(Detection(box, 1.0, ()), margin=0.1, whole=False)
    assert max(scene.frame.shape[:2]) <= SCENE
    assert max(scene.close.shape[:2]) <= 320
    for picture, cut in ((scene.frame, scene.cut), (scene.close, scene.close_cut)):
        ys, xs = np.nonzero(picture[..., 0] > 127)
        assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == pytest.approx(cut, abs=1.01)
    whole = FrameView(image).scene(Detection((0.0, 0.0, w, h), 1.0, ()), margin=0.1, whole=True)
    assert whole.cut == pytest.approx((0, 0, whole.frame.shape[1], whole.frame.shape[0]), abs=1)


@pytest.mark.parametrize("cut", [(40.0, 30.0, 104.0, 94.0), (17.3, 21.6, 200.9, 140.2), (50.0, 50.0, 65.0, 70.0)])
def test_the_heat_map_is_the_mri_in_its_place(cut: tuple[float, float, float, float]) -> None:
    """Against an independent way: every pixel centre of the frame looked up in the MRI."""
    size = 64
    y, x = np.mgrid[:size, :size] / size
    mri = np.repeat((255 * np.sin(3 * x) ** 2 * np.cos(2 * y) ** 2)[..., None], 3, 2).round().astype(np.uint8)
    picture = np.full((160, 240, 3), 90, np.uint8)
    drawn = heated(picture, mri, cut)
    x0, y0, x1, y1 = cut
    rows, columns = np.mgrid[:160, :240] + 0.5
    inside = (columns > x0 + 2) & (columns < x1 - 2) & (rows > y0 + 2) & (rows < y1 - 2)
    u, v = (columns - x0) / (x1 - x0) * size - 0.5, (rows - y0) / (y1 - y0) * size - 0.5
    strength = cv2.remap(mri[..., 0].astype(np.float32) / 255, u.astype(np.float32), v.astype(np.float32), 1)
    alpha = opacity(strength)[..., None]
    expected = picture * (1 - alpha) + colours(strength) * alpha
    difference = np.abs(drawn - expected)[inside]
    assert difference.mean() < 3
    assert inside.sum() > 80
    outside = (columns < x0 - 2) | (columns > x1 + 2) | (rows < y0 - 2) | (rows > y1 + 2)
    assert (drawn[outside] == 90).all()


def test_where_the_mri_is_black_nothing_is_drawn() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    assert (heated(picture, np.zeros((32, 32, 3), np.uint8), (10, 10, 50, 50)) == picture).all()
    full = heated(picture, np.full((32, 32, 3), 255, np.uint8), (0, 0, 80, 60))
    expected = picture * (1 - OPAQUE) + colours(np.ones(()))[None] * OPAQUE
    assert np.abs(full[5:-5, 5:-5] - expected[5:-5, 5:-5]).max() <= 1


def test_the_legend_goes_from_grey_to_bright() -> None:
    assert legend()[0] == "#808080"
    light = [sum(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in legend()]
    assert light[-1] == max(light)


def test_a_box_is_drawn_on_a_copy() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    drawn = boxed(picture, (20.2, 30.4, 80.6, 90.1))
    assert not picture.any()
    ys, xs = np.nonzero((drawn == BOX).all(2))
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == pytest.approx((20, 30, 81, 90), abs=1)
    assert not drawn[45:75, 35:65].any()

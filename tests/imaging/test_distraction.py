"""The distractions: texts as OpenCV 4 writes them, shapes by formula, and how they move."""

from __future__ import annotations

import hashlib
import string
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from mrigan.imaging.distraction import (
    COLOURS,
    DIRECTIONS,
    DISTRACTIONS,
    distract,
    draw_shape,
    draw_text,
    place,
    shape_size,
    text_size,
)
from mrigan.imaging.letters import GLYPHS

# First 16 digits of the SHA-256 of what OpenCV 4.10 makes of a grey (220, 1100, 3) picture:
# putText(image, text, (10, 150), FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), thickness, LINE_AA)
OPENCV_4 = {
    ("aB3xYz9Q", 1, 1): "8f19c6fc4b2bdac2", ("aB3xYz9Q", 3, 2): "5ca1bc77c28646a5",
    ("aB3xYz9Q", 6, 3): "67392f73ad6fc6a5", ("ghijklmn", 3, 2): "90be93d8eebb7acb",
    ("opqrstuv", 3, 2): "4c14ac55aa6e6dd5", ("wcdefACD", 3, 2): "9cb757bbd41ece15",
    ("EFGHIJKL", 3, 2): "6935dd57885c0d7e", ("MNOPRSTU", 3, 2): "0ce1423fdab48868",
    ("VWXZ0124", 3, 2): "24d8432186037f5c", ("5678by01", 6, 3): "ab02d3c2ac850c41",
}  # fmt: skip
TEXT: dict[str, Any] = {"text": "Ab3xY9pq", "scale": 2, "thickness": 2, "colour": "green"}
CIRCLE: dict[str, Any] = {"shape": "circle", "size": 0.08, "colour": "red"}


def grey(h: int = 240, w: int = 320) -> np.ndarray:
    return np.full((h, w, 3), 128, np.uint8)


def drawn(image: np.ndarray) -> np.ndarray:
    """Where a grey picture has been drawn on."""
    return (image != 128).any(axis=2)


@pytest.mark.parametrize(("text", "scale", "thickness"), OPENCV_4)
def test_texts_are_those_of_opencv_4(text: str, scale: int, thickness: int) -> None:
    half = thickness / 2
    image = draw_text(grey(220, 1100), (10 - half, 150 - 22 * scale - half), text, scale=scale, thickness=thickness)
    assert hashlib.sha256(image.tobytes()).hexdigest()[:16] == OPENCV_4[text, scale, thickness]


def test_the_golden_texts_hold_every_letter() -> None:
    assert set(GLYPHS) == set(string.ascii_letters + string.digits) == set("".join(text for text, *_ in OPENCV_4))


@pytest.mark.parametrize(("scale", "thickness"), [(1, 1), (3, 3), (6, 2)])
def test_a_text_stays_in_its_box(scale: int, thickness: int) -> None:
    text = "QgjWAj0y"
    w, h = text_size(text, scale, thickness)
    image = draw_text(grey(400, 1200), (30, 40), text, scale=scale, thickness=thickness, colour="white")
    rows, columns = np.nonzero(image[..., 0] > 192)  # more than half; OpenCV's strokes are a little wider than told
    assert 30 <= columns.min() <= columns.max() < 30 + w
    assert 40 <= rows.min() <= rows.max() < 40 + h + 2
    assert rows.max() - rows.min() > 0.85 * h


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("size", [0.005, 0.05, 0.08, 0.12])
def test_shapes(colour: str, size: float) -> None:
    image = draw_shape(grey(), (50, 60), "rectangle", size=size, colour=colour)
    w, h = max(round(320 * size), 1), max(round(240 * size), 1)
    expected = grey()
    expected[60 : 60 + h, 50 : 50 + w] = COLOURS[colour]
    assert (image == expected).all()

    image = draw_shape(grey(), (50, 60), "circle", size=size, colour=colour)
    r = round(320 * size)
    y, x = np.mgrid[:240, :320]
    distance = np.hypot(x - 50 - r, y - 60 - r)
    assert (image[distance <= r - 0.5] == COLOURS[colour]).all()
    assert not drawn(image)[distance > r + 0.8].any()
    assert shape_size("circle", size, (320, 240)) == (2 * r + 1, 2 * r + 1)


def test_static_things_stay() -> None:
    for name, look in (("static_text", TEXT), ("static_shape", CIRCLE)):
        first = distract(grey(), name, start=(0.3, 0.8), **look)
        assert drawn(first).any()
        assert all((distract(grey(), name, frame=k, start=(0.3, 0.8), **look) == first).all() for k in range(40))
    for start, corner in (((0, 0), (0, 0)), ((1, 1), (320 - 53, 240 - 53))):
        rows, columns = np.nonzero(drawn(distract(grey(), "static_shape", start=start, **CIRCLE)))
        assert (columns.min(), rows.min()) == corner


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_rolling_things_go_10_px_a_frame_and_come_back_on_the_other_side(direction: str) -> None:
    look = {**CIRCLE, "start": (0.5, 0.5), "direction": direction}
    dx, dy = DIRECTIONS[direction]
    part = 53
    way = (320 if dx else 240) + part  # until it is where it was
    centres = {}
    for k in range(60):
        mask = drawn(distract(grey(), "rolling_shape", frame=k, **look))
        if mask.sum() == drawn(distract(grey(), "rolling_shape", **look)).sum():  # wholly in sight
            centres[k] = center_of_mass(mask)
    y0, x0 = centres[0]
    for k, (y, x) in centres.items():
        along = ((x - x0) * dx + (y - y0) * dy - 10 * k) % way
        assert min(along, way - along) < 1.01
        assert abs((y - y0) if dx else (x - x0)) < 1e-6
    assert len(centres) > 25
    seen = {k: drawn(distract(grey(), "rolling_shape", frame=k, **look)).any() for k in range(60)}
    assert sum(not shown for shown in seen.values()) <= 2  # it leaves, and comes in again at once


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_spontaneous_things_come_and_go(fraction: float) -> None:
    every = [place((320, 240), (53, 41), "spontaneous", frame=k, fraction=fraction, rng=np.random.default_rng([1, k]))
             for k in range(3000)]  # fmt: skip
    places = np.array([corner for corner in every if corner])
    assert len(places) / 3000 == pytest.approx(fraction, abs=0.035)
    for axis, room in enumerate((320 - 53, 240 - 41)):
        counts, _ = np.histogram(places[:, axis], bins=4, range=(0, room))
        assert counts == pytest.approx(len(places) / 4, rel=0.3)
    for k in (0, 1, 5, 8, 13, 21):
        rng = np.random.default_rng([1, k])
        seen = drawn(distract(grey(), "spontaneous_shape", rng, k, **{**CIRCLE, "fraction": fraction}))
        assert seen.any() == (every[k] is not None)
    again = distract(grey(), "spontaneous_text", np.random.default_rng(9), **TEXT)
    assert (again == distract(grey(), "spontaneous_text", np.random.default_rng(9), frame=77, **TEXT)).all()
    with pytest.raises(ValueError, match="generator"):
        distract(grey(), "spontaneous_text", **TEXT)


def test_pictures_are_left_as_they_are() -> None:
    assert len(DISTRACTIONS) == 6
    for name in DISTRACTIONS:
        image = grey()
        out = distract(image, name, np.random.default_rng(0), **(TEXT if name.endswith("text") else CIRCLE))
        assert (image == 128).all()
        assert drawn(out).any()

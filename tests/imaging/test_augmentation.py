"""The six augmentations against scikit-image, SciPy and formulas; boxes and landmarks follow the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, uniform_filter
from skimage.data import astronaut
from skimage.transform import rotate as rotate_by_skimage

from mrigan.imaging.augmentation import (
    AUGMENTATIONS,
    blur,
    brightness,
    contrast,
    flip,
    rescale,
    rotate,
)
from mrigan.imaging.coordinates import MIRROR_68, move_box, move_points
from mrigan.imaging.treatment import Step

MOVING: list[tuple[str, dict[str, Any]]] = [
    ("rotation", {"degrees": 15}), ("rotation", {"degrees": -11}), ("flip", {}), ("rescale", {"size": [800, 600]}),
    ("rescale", {"size": [1280, 720]}), ("blur", {"size": 9}),
]  # fmt: skip


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.ascontiguousarray(astronaut()[:300, :401])


@pytest.mark.parametrize("size", [7, 12])
def test_blur_is_a_box_filter(picture: np.ndarray, size: int) -> None:
    theirs = uniform_filter(picture.astype(float), (size, size, 0), mode="mirror")
    assert np.abs(blur(picture, size) - theirs).max() <= 0.51


@pytest.mark.parametrize("c", [-20, -7, 0, 20])
def test_contrast(picture: np.ndarray, c: int) -> None:
    f = 131 * (c + 127) / (127 * (131 - c))
    expected = np.clip(f * picture.astype(float) + 127 * (1 - f), 0, 255)
    assert np.abs(contrast(picture, c) - expected).max() <= 0.5
    assert (contrast(picture, 0) == picture).all()


@pytest.mark.parametrize("b", [-20, -1, 0, 20])
def test_brightness(picture: np.ndarray, b: int) -> None:
    x = picture.astype(float)
    expected = x * (255 - b) / 255 + b if b > 0 else x * (255 + b) / 255
    assert np.abs(brightness(picture, b) - expected).max() <= 0.5


@pytest.mark.parametrize("degrees", [-15, 4, 15])
def test_rotation(picture: np.ndarray, degrees: int) -> None:
    theirs = rotate_by_skimage(picture, degrees, order=1, mode="constant", preserve_range=True)
    difference = np.abs(rotate(picture, degrees) - theirs)
    assert difference.mean() < 1.0  # OpenCV counts in 32nds of a pixel
    assert np.abs(rotate(picture, -degrees) - theirs).mean() > 20


def test_flip_and_rescale(picture: np.ndarray) -> None:
    assert (flip(picture) == picture[:, ::-1]).all()
    twice = np.ascontiguousarray(astronaut()[:400, :400]).repeat(4, 0).repeat(3, 1)[: 1600 - 400, :1200]
    small = rescale(twice, (400, 300))  # each 3 × 4 block is of one value
    assert (small == astronaut()[:300, :400]).all()
    assert rescale(picture, [800, 600]).shape == (600, 800, 3)


def test_originals_are_left_as_they_are(picture: np.ndarray) -> None:
    before = picture.copy()
    for name, settings in [*MOVING, ("contrast", {"value": 9}), ("brightness", {"value": 9})]:
        AUGMENTATIONS[name].apply(picture, **settings)
    assert (picture == before).all()


@pytest.mark.parametrize(("name", "settings"), MOVING)
def test_landmarks_follow(name: str, settings: dict[str, Any]) -> None:
    points = [(120.5, 80.5), (250.5, 90.5), (180.5, 150.5), (140.5, 200.5), (230.5, 210.5)]
    matrix, size = Step("augmentation", name, settings).matrix((401, 300))
    moved = move_points(matrix, points)
    order = [1, 0, 2, 4, 3] if name == "flip" else range(5)  # the left eye stays the one on the left
    for point, place in zip(points, order, strict=True):
        image = np.zeros((300, 401, 3), np.uint8)
        x, y = int(point[0]), int(point[1])
        image[y - 4 : y + 5, x - 4 : x + 5] = 255
        picture = AUGMENTATIONS[name].apply(image, **settings)
        assert picture.shape[1::-1] == size
        cy, cx = center_of_mass(picture[..., 0])
        assert (cx + 0.5, cy + 0.5) == pytest.approx(moved[place], abs=0.6)


@pytest.mark.parametrize(("name", "settings"), MOVING)
def test_boxes_follow_a_round_face(name: str, settings: dict[str, Any]) -> None:
    image = np.zeros((300, 401, 3), np.uint8)
    y, x = np.mgrid[:300, :401] + 0.5
    box = (100.0, 60.0, 220.0, 230.0)
    image[((x - 160) / 60) ** 2 + ((y - 145) / 85) ** 2 <= 1] = 255
    matrix, size = Step("augmentation", name, settings).matrix((401, 300))
    rows, columns = np.nonzero(AUGMENTATIONS[name].apply(image, **settings)[..., 0] > 127)
    seen = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert move_box(matrix, box, size) == pytest.approx(seen, abs=2.5 if size[0] > 1000 else 1.6)


def test_a_face_that_leaves_the_picture_is_given_up() -> None:
    matrix, size = Step("augmentation", "rotation", {"degrees": 15}).matrix((400, 300))
    assert move_box(matrix, (0, 0, 80, 80), size) is None
    assert move_box(matrix, (160, 100, 240, 200), size) is not None
    clipped = move_box(np.eye(3), (-4, 10, 96, 90), size)
    assert clipped == (0, 10, 96, 90)
    assert move_box(np.eye(3), (-40, 10, 60, 90), size) is None
    assert move_box(np.eye(3), (-40, 10, 60, 90), size, inside=0.0) == (0, 10, 60, 90)


def test_68_landmarks_of_a_mirrored_face_are_in_order() -> None:
    assert [MIRROR_68[MIRROR_68[i]] for i in range(68)] == list(range(68))
    pairs = {0: 16, 8: 8, 17: 26, 27: 27, 31: 35, 36: 45, 37: 44, 39: 42, 40: 47, 41: 46, 48: 54, 49: 53, 51: 51,
             55: 59, 57: 57, 60: 64, 61: 63, 65: 67}  # fmt: skip  # iBUG's figure, counted from 0
    assert {i: MIRROR_68[i] for i in pairs} == pairs
    points = [(float(i), 2.0 * i) for i in range(68)]
    matrix, _ = Step("augmentation", "flip", {}).matrix((100, 200))
    moved = move_points(matrix, points)
    assert moved[36] == (100 - 45.0, 90.0)
    assert move_points(matrix, moved) == points

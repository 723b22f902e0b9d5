"""`arrays` and `planes` are two forms of the same operations."""

from __future__ import annotations

import inspect
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from mrigan.imaging import arrays, planes
from mrigan.imaging.picture import operations

FACE = np.ascontiguousarray(astronaut()[20:203, 60:251])
PLANES = torch.from_numpy(FACE.transpose(2, 0, 1).copy())


def public(module: ModuleType) -> dict[str, list[tuple[str, object]]]:
    """The parameters behind the picture, with their defaults, of each public function."""
    found = {}
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ == module.__name__ and not name.startswith("_"):
            parameters = list(inspect.signature(function).parameters.values())
            found[name] = [(each.name, each.default) for each in parameters if each.name not in ("image", "images")]
    return found


def test_both_have_the_same_functions() -> None:
    assert len(public(arrays)) > 15
    assert public(arrays) == public(planes)
    assert operations(FACE) is arrays
    assert operations(PLANES) is planes


@pytest.mark.parametrize("to", [(64, 64), (256, 256), (300, 100), (191, 183)])
def test_linear_enlargement_is_opencvs(to: tuple[int, int]) -> None:
    shrinks = to[0] <= 191 and to[1] <= 183
    expected = cv2.resize(FACE, to, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR).astype(int)
    assert (arrays.resize(FACE, to, "linear") == expected).all()
    by_torch = planes.resize(PLANES, to, "linear").permute(1, 2, 0).numpy()
    assert np.abs(by_torch - expected).max() <= 1


@pytest.mark.parametrize("corner", [(0, 0), (-50, 30), (150, -170), (500, 3), (3, -400)])
def test_a_window_is_black_beyond_the_border(corner: tuple[int, int]) -> None:
    padded = np.pad(FACE, ((600, 600), (600, 600), (0, 0)))
    expected = padded[600 + corner[1] :, 600 + corner[0] :][:97, :120]
    assert (arrays.window(FACE, *corner, (120, 97)) == expected).all()
    assert (planes.window(PLANES[None], *corner, (120, 97))[0].permute(1, 2, 0).numpy() == expected).all()


def test_luma_is_the_same_everywhere() -> None:
    cube = np.arange(1 << 16, dtype=np.uint16).view(np.uint8)  # every pair of bytes
    image = np.stack([cube, np.roll(cube, 1), np.roll(cube, 511)], axis=-1).reshape(256, 512, 3)
    expected = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    assert (arrays.without_colour(image) == expected[..., None]).all()
    assert (planes.luma(torch.from_numpy(image.transpose(2, 0, 1).copy())).numpy() == expected).all()
    assert arrays.mean_luma(image) == pytest.approx(expected.mean(), abs=0.01)

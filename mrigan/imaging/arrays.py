"""The pixel operations on (H, W, 3) uint8 RGB arrays, by OpenCV and NumPy. `planes` has the same functions for torch.

Each leaves the picture that it is given as it is, and returns that picture itself where nothing changes. Sizes are
(width, height) in px. Values are rounded to the nearest (halves to even) and clipped to 0...255.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import cv2
import numpy as np

from mrigan.imaging.coordinates import Size, rotation_matrix

LEVELS = 1 << 16  # of a field of noise, uint16
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
BORDERS = {"mirror": cv2.BORDER_REFLECT_101, "repeat": cv2.BORDER_REPLICATE}
BAND = 16  # rows that are made noisy at a time: what is in between then stays in the cache

Region = tuple[slice, slice]  # rows, columns
Make = Callable[[Any], np.ndarray]  # from a noise's setting to its table


class Ink(Protocol):
    """What can be drawn on an array: (width, height) of its box in px, and the drawing, on a copy."""

    @property
    def size(self) -> Size: ...
    def draw(self, image: np.ndarray, at: tuple[int, int]) -> np.ndarray: ...
    def __hash__(self) -> int: ...


def size(image: np.ndarray) -> Size:
    """(width, height) in px."""
    return image.shape[1], image.shape[0]


def device(image: np.ndarray) -> str:
    """Where the pixels are."""
    return "cpu"


def resize(image: np.ndarray, to: Size, enlarge: str = "area") -> np.ndarray:
    """Means of areas where both sides shrink; where one grows, bilinear, by one of OpenCV's two ways.

    Args:
        to: (width, height). enlarge: "area" (INTER_AREA's own: a source pixel stays as wide as it became) or "linear"
            (INTER_LINEAR).
    """
    if to == size(image):
        return image
    shrinks = image.shape[1] >= to[0] and image.shape[0] >= to[1]
    how = cv2.INTER_AREA if shrinks or enlarge == "area" else cv2.INTER_LINEAR
    return cv2.resize(image, to, interpolation=how)


def window(image: np.ndarray, left: int, top: int, of: Size) -> np.ndarray:
    """The part of (width, height) `of` whose upper left corner is there, inside or outside; black beyond the border."""
    width, height = of
    out = np.zeros((height, width, 3), np.uint8)
    part = image[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    down, right = max(-top, 0), max(-left, 0)
    out[down : down + part.shape[0], right : right + part.shape[1]] = part
    return out


def flip(image: np.ndarray) -> np.ndarray:
    """Mirrored left and right."""
    return cv2.flip(image, 1)


def rotate(image: np.ndarray, degrees: float, *, exact: bool = True) -> np.ndarray:
    """Turned about the centre, counter-clockwise, bilinear; the size stays, corners that come in are black.

    Args:
        exact: places are rounded to 1/32 px, and OpenCV then computes in whole numbers: the same on every processor.
            Else its own `warpAffine`, which is not, in a third of the time where no two angles are the same.
    """
    if exact:
        return cv2.remap(image, *_rotation_maps(size(image), degrees), cv2.INTER_LINEAR)
    (width, height) = size(image)
    turned = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)  # of the pixels' centres
    return cv2.warpAffine(image, turned, (width, height))


@lru_cache(maxsize=4)
def _rotation_maps(of: Size, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of a turned (width, height) picture come from, as `cv2.remap` has it: whole px, and 1/32 px."""
    width, height = of
    column, row = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5  # their centres
    back = rotation_matrix(of, -degrees)[:2]
    x, y = (np.rint((a * column + b * row + c - 0.5) * 32).astype(np.int32) for a, b, c in back)
    return np.stack([x >> 5, y >> 5], axis=-1).astype(np.int16), ((y & 31) * 32 + (x & 31)).astype(np.uint16)


def blur(image: np.ndarray, side: int, border: str = "mirror") -> np.ndarray:
    """The mean over a box of `side` px.

    Args:
        border: beyond it a picture is mirrored about its outermost pixels ("mirror"), or they go on ("repeat").
    """
    return cv2.blur(image, (side, side), borderType=BORDERS[border])


def linear(image: np.ndarray, factor: float, shift: float) -> np.ndarray:
    """Every value x becomes factor · x + shift."""
    return cv2.LUT(image, np.clip(np.rint(factor * np.arange(256) + shift), 0, 255).astype(np.uint8))


def luma(image: np.ndarray) -> np.ndarray:
    """(H, W) uint8: BT.601's luma, in OpenCV's whole numbers."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def without_colour(image: np.ndarray) -> np.ndarray:
    """The luma in all three channels."""
    return cv2.cvtColor(luma(image), cv2.COLOR_GRAY2RGB)


def mean_luma(image: np.ndarray) -> float:
    """The luma of the mean colour."""
    return float(np.dot(cv2.mean(image)[:3], LUMA))


def fill(image: np.ndarray, region: Region, colour: tuple[int, int, int]) -> np.ndarray:
    """One colour in a region."""
    image = image.copy()
    image[region] = colour
    return image


def paint(image: np.ndarray, at: tuple[int, int], ink: Ink) -> np.ndarray:
    """`ink` drawn with the upper left corner of its box at `at`, which may lie outside."""
    return ink.draw(image, at)


def placed(field: np.ndarray, device: str) -> np.ndarray:
    """An (H, W, 3) uint16 field of noise as the operations below take it, on the picture's device."""
    return field


def add(image: np.ndarray, field: np.ndarray, make: Make, setting: float) -> np.ndarray:
    """x + table[field]; `make(setting)` gives the int16 table of `LEVELS`."""
    table = make(setting)
    return _bands(image, field, lambda band, part: cv2.add(band, table[part], dtype=cv2.CV_8U))


def multiply(image: np.ndarray, field: np.ndarray, make: Make, setting: float) -> np.ndarray:
    """x · table[field]; `make(setting)` gives the float32 table of `LEVELS`."""
    table = make(setting)
    return _bands(image, field, lambda band, part: cv2.multiply(band, table[part], dtype=cv2.CV_8U))


def replace(image: np.ndarray, field: np.ndarray, make: Make, setting: int) -> np.ndarray:
    """table[x, field]; `make(setting)` gives the uint8 table of 256 × `LEVELS`, flat."""
    table = make(setting)
    return _bands(image, field, lambda band, part: table.take(band.astype(np.int32) * LEVELS + part))


def bleach(image: np.ndarray, field: np.ndarray, white: int, black: int) -> np.ndarray:
    """255 where the field is below `white`, else 0 where it is below `black`."""
    whitened = cv2.max(image, _mask(field < white))
    return cv2.subtract(whitened, _mask((field >= white) & (field < black)))


def _bands(image: np.ndarray, field: np.ndarray, noisy: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    out = np.empty_like(image)
    for start in range(0, len(image), BAND):
        rows = slice(start, start + BAND)
        out[rows] = noisy(image[rows], field[rows])
    return out


def _mask(where: np.ndarray) -> np.ndarray:
    return where.view(np.uint8) * np.uint8(255)

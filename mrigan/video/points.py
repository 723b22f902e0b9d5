"""A clip's frames as a few thousand grey values each: enough to tell which moment a frame shows, cheap to take.

The values are taken at fixed places of the picture (no averages: fine detail tells neighbouring frames apart), straight
from the decoder's luma plane where that is possible, and are full-range BT.601 grey, as `geometry.grey` of the RGB
picture. A fake that is scaled is compared by averages over cells instead, for its pixels lie elsewhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from mrigan.imaging.picture import grey
from mrigan.video.container import display_matrix
from mrigan.video.frames import Decoded
from mrigan.video.geometry import Geometry

ACROSS, DOWN = 128, 72  # points of a picture each way, whatever its shape
PLANAR = {"yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p", "gray"}
FULL_RANGE = 2  # AVCOL_RANGE_JPEG
# BT.601 grey of a colour that another matrix made: luma + these parts of its two colour differences.
OTHER_MATRIX = {1: (0.1016, 0.1961), 9: (0.1179, 0.1055)}  # BT.709, BT.2020


def places(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows (`DOWN`, 1) and columns (`ACROSS`,) of the points in a picture of `size` (w, h)."""
    w, h = size
    return ((2 * np.arange(DOWN) + 1) * h // (2 * DOWN))[:, None], (2 * np.arange(ACROSS) + 1) * w // (2 * ACROSS)


def points_of(values: np.ndarray) -> np.ndarray:
    """(h, w) uint8 grey → (`DOWN` · `ACROSS`,) uint8."""
    rows, columns = places((values.shape[1], values.shape[0]))
    return np.ascontiguousarray(values[rows, columns]).ravel()


def means_of(values: np.ndarray) -> np.ndarray:
    """(h, w) uint8 grey → (`DOWN` · `ACROSS`,) uint8 averages over the cells around the points."""
    return cv2.resize(values, (ACROSS, DOWN), interpolation=cv2.INTER_AREA).ravel()


def original_points(values: np.ndarray, geometry: Geometry) -> np.ndarray:
    """What `fake_points` of an unforged fake in this geometry would be, from the grey values of the original."""
    if geometry.scale != (1.0, 1.0):
        return means_of(values)
    return points_of(geometry.original(values))


def fake_points(decoded: Decoded, means: bool = False) -> np.ndarray:
    """(`DOWN` · `ACROSS`,) uint8 grey values of a frame as displayed; of its cells' averages where `means` is set."""
    luma = None if means or not decoded.as_stored else _luma_points(decoded.picture)
    if luma is not None:
        return luma
    values = grey(decoded.frame().image)
    return means_of(values) if means else points_of(values)


def _luma_points(picture: Any) -> np.ndarray | None:
    """The points from the planes of an 8-bit picture that is displayed as it is stored, None for any other."""
    form = getattr(getattr(picture, "format", None), "name", "")
    if form not in PLANAR or display_matrix(picture) is not None:
        return None
    size = picture.width, picture.height
    luma = _taken(picture, 0, size, (0, 0))
    full = form.startswith("yuvj") or form == "gray" or int(picture.color_range) == FULL_RANGE
    other = OTHER_MATRIX.get(int(picture.colorspace))
    if other is None or form == "gray":
        return luma if full else cv2.LUT(luma, EXPANDED).ravel()
    grain = {"0": (1, 1), "2": (0, 1), "4": (0, 0)}[form.rstrip("p")[-1]]  # 420, 422, 444: halvings down and across
    colour = [_taken(picture, n, size, grain).astype(np.float32) - 128 for n in (1, 2)]
    grade = 1.0 if full else 255 / 224
    value = (luma if full else EXPANDED[luma]) + grade * (other[0] * colour[0] + other[1] * colour[1])
    return np.clip(np.rint(value), 0, 255).astype(np.uint8)


def _taken(picture: Any, number: int, size: tuple[int, int], grain: tuple[int, int]) -> np.ndarray:
    """The points of one plane, which is halved `grain` times down and across."""
    plane = picture.planes[number]
    return np.frombuffer(plane, np.uint8).take(_offsets(size, plane.line_size, grain))


@lru_cache(maxsize=16)
def _offsets(size: tuple[int, int], line: int, grain: tuple[int, int]) -> np.ndarray:
    """Where the points lie in a plane of `line` bytes a row."""
    rows, columns = places(size)
    return ((rows >> grain[0]) * line + (columns >> grain[1])).ravel()


EXPANDED = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)  # limited range → full


def outside(boxes: list[tuple[float, float, float, float]], size: tuple[int, int], margin: float) -> np.ndarray:
    """(`DOWN` · `ACROSS`,) bool: the points that lie in none of the boxes, each widened by `margin` of its size."""
    rows, columns = places(size)
    seen = np.ones((DOWN, ACROSS), bool)
    for x0, y0, x1, y1 in boxes:
        x, y = margin * (x1 - x0), margin * (y1 - y0)
        seen &= ~((rows >= y0 - y) & (rows < y1 + y) & (columns >= x0 - x) & (columns < x1 + x))
    return seen.ravel()

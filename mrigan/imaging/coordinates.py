"""Places in a picture: their grid, and where boxes and landmarks go with pixels that move.

Coordinates are those of edges: pixel i covers i to i + 1, and the picture (0, 0) to (width, height).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

Box = tuple[float, float, float, float]
Size = tuple[int, int]

GRID = 1 / 64  # px: boxes and points are multiples of it, so that the last bits of a processor or a batch do not matter
INSIDE = 0.9  # of a box's area must lie in a picture that shows its face whole

# Places of left and right in lists of landmarks, counted from 0, that change when a picture is mirrored
MIRROR_5 = (1, 0, 2, 4, 3)  # MTCNN's: eyes, nose, corners of the mouth
MIRROR_68 = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), *(45, 44, 43, 42, 47, 46),
    *(39, 38, 37, 36, 41, 40), *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
)  # fmt: skip  # iBUG 300-W


def on_grid(values: Any, step: float = GRID) -> Any:
    """Numbers or arrays of them, rounded to multiples of `step`, a power of two."""
    return np.rint(np.asarray(values) / step) * step


def rotation_matrix(size: Size, degrees: float) -> np.ndarray:
    """(3, 3): where a point of a (width, height) picture lies that is turned about its centre, counter-clockwise."""
    turned = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), degrees, 1.0)
    return np.vstack([turned, [0.0, 0.0, 1.0]])


def move_points(matrix: np.ndarray, points: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Map (x, y) landmarks, to multiples of `GRID`.

    A mirrored face has its left eye on the other side: lists of 5 and 68 are reordered.
    """
    if not len(points):
        return []
    moved = on_grid(np.asarray(points, np.float64) @ matrix[:2, :2].T + matrix[:2, 2])
    if np.linalg.det(matrix[:2, :2]) < 0:
        moved = moved[list({5: MIRROR_5, 68: MIRROR_68}.get(len(moved), range(len(moved))))]
    return [(float(x), float(y)) for x, y in moved]


def move_box(matrix: np.ndarray, box: Sequence[float], size: Size, inside: float = INSIDE) -> Box | None:
    """Map a face's box: the box about the ellipse that the given box is about, clipped to the (width, height) picture.

    A head is round: its upright box does not grow when it is tilted, as a box about the turned corners would (by a
    quarter at 15°). Where nothing is turned this is the mapped box itself.

    Returns:
        (x0, y0, x1, y1) in px, multiples of `GRID`, or None where less than the part `inside` of it lies in
        the picture.
    """
    half = np.array([box[2] - box[0], box[3] - box[1]]) / 2
    cx, cy = matrix[:2, :2] @ (np.array(box[:2]) + half) + matrix[:2, 2]
    dx, dy = np.sqrt(((matrix[:2, :2] * half) ** 2).sum(axis=1))
    x0, x1 = (float(np.clip(on_grid(x), 0, size[0])) for x in (cx - dx, cx + dx))
    y0, y1 = (float(np.clip(on_grid(y), 0, size[1])) for y in (cy - dy, cy + dy))
    if x1 <= x0 or y1 <= y0 or (x1 - x0) * (y1 - y0) < inside * 4 * dx * dy:
        return None
    return x0, y0, x1, y1

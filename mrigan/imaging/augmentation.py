"""The six augmentations of MRI-GAN, section 3, and how boxes and landmarks follow those that move pixels.

Each is a pure function (picture, parameters) → picture; `augmentation_matrix` tells where its points go. Coordinates
are those of edges: pixel i covers i to i + 1, and the picture (0, 0) to (width, height).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from mrigan.imaging.coordinates import INSIDE, on_grid
from mrigan.imaging.picture import scale_to

Box = tuple[float, float, float, float]
Size = tuple[int, int]

# Places of left and right in lists of landmarks, counted from 0, that change when a picture is mirrored
MIRROR_5 = (1, 0, 2, 4, 3)  # MTCNN's: eyes, nose, corners of the mouth
MIRROR_68 = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), *(45, 44, 43, 42, 47, 46),
    *(39, 38, 37, 36, 41, 40), *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
)  # fmt: skip  # iBUG 300-W


def blur(image: np.ndarray, size: int) -> np.ndarray:
    """Box blur of `size` × `size` px. (H, W, 3) uint8 → the same, as of all augmentations but `rescale`."""
    import cv2

    return cv2.blur(image, (size, size))


def contrast(image: np.ndarray, value: float) -> np.ndarray:
    """f·x + 127·(1 − f) with f = 131·(c + 127) / (127·(131 − c)); `value` c in −127..127, 0 changes nothing."""
    import cv2

    return cv2.LUT(image, contrast_table(value))


def brightness(image: np.ndarray, value: float) -> np.ndarray:
    """x·(255 − b)/255 + b for b > 0 (black is lifted), x·(255 + b)/255 for b < 0 (white is lowered); b = `value`."""
    import cv2

    return cv2.LUT(image, brightness_table(value))


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate about the centre, counter-clockwise, bilinear; the size stays, corners that come in are black.

    Places are rounded to 1/32 px, and OpenCV then computes in whole numbers: the same on every processor, as its own
    `warpAffine` is not.
    """
    import cv2

    h, w = image.shape[:2]
    return cv2.remap(image, *_rotation_maps((w, h), degrees), cv2.INTER_LINEAR)


@lru_cache(maxsize=4)
def _rotation_maps(size: Size, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of a turned (width, height) picture come from, as `cv2.remap` has it: whole px, and 1/32 px."""
    width, height = size
    column, row = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5  # their centres
    back = rotation_matrix(size, -degrees)[:2]
    x, y = (np.rint((a * column + b * row + c - 0.5) * 32).astype(np.int32) for a, b, c in back)
    return np.stack([x >> 5, y >> 5], axis=-1).astype(np.int16), ((y & 31) * 32 + (x & 31)).astype(np.uint16)


def flip(image: np.ndarray) -> np.ndarray:
    """Mirror left and right."""
    import cv2

    return cv2.flip(image, 1)


def rescale(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize to (width, height), by area; the aspect ratio is not kept (as in the paper)."""
    return scale_to(image, (int(size[0]), int(size[1])))


AUGMENTATIONS: dict[str, Callable[..., np.ndarray]] = {
    "blur": blur,
    "contrast": contrast,
    "brightness": brightness,
    "rotation": rotate,
    "flip": flip,
    "rescale": rescale,
}

MOVES = ("rotation", "flip", "rescale")  # those that move pixels; the others change values in place


def augmentation_matrix(name: str, size: Size, /, **settings: Any) -> tuple[np.ndarray, Size]:
    """Where a point of a (width, height) picture lies after the augmentation `name` with these settings.

    Returns:
        A (3, 3) float64 affine matrix for columns (x, y, 1), and the new (width, height).
    """
    w, h = size
    if name == "rotation":
        return rotation_matrix(size, settings["degrees"]), size
    if name == "flip":
        return np.array([[-1.0, 0, w], [0, 1, 0], [0, 0, 1]]), size
    if name == "rescale":
        new_w, new_h = (int(v) for v in settings["size"])
        return np.diag([new_w / w, new_h / h, 1.0]), (new_w, new_h)
    return np.eye(3), size


def move_points(matrix: np.ndarray, points: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Map (x, y) landmarks, to multiples of `coordinates.GRID`.

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
        (x0, y0, x1, y1) in px, multiples of `coordinates.GRID`, or None where less than the part `inside` of it lies in
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


def contrast_table(value: float) -> np.ndarray:
    """What `contrast` makes of each of 256 values."""
    factor = 131 * (value + 127) / (127 * (131 - value))
    return _line(factor, 127 * (1 - factor))


def brightness_table(value: float) -> np.ndarray:
    """What `brightness` makes of each of 256 values."""
    return _line((255 - abs(value)) / 255, max(value, 0))


def _line(factor: float, offset: float) -> np.ndarray:
    return np.clip(np.rint(factor * np.arange(256) + offset), 0, 255).astype(np.uint8)


def rotation_matrix(size: Size, degrees: float) -> np.ndarray:
    """(3, 3): where a point of a (width, height) picture lies after `rotate`."""
    import cv2

    turned = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), degrees, 1.0)
    return np.vstack([turned, [0.0, 0.0, 1.0]])

"""Cutting a face out of a frame, and the named steps that bring it to its stored size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mrigan.errors import ConfigError
from mrigan.imaging.picture import Picture, is_array, scale_to


def expand_box(box: Sequence[float], margin: float, frame_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A detected box as ints with `margin` of its width and height added on each side, clipped to the frame.

    The box is truncated to ints first and the margin is truncated too, as in the code of MRI-GAN's authors.

    Args:
        box: (x0, y0, x1, y1) in px.
        margin: fraction of the box's size, e.g. 0.1.
        frame_size: (w, h) in px.

    Returns:
        (x0, y0, x1, y1), x1 and y1 exclusive, at least 1 px wide and high as long as the box touches the frame.
    """
    x0, y0, x1, y1 = (int(v) for v in box)
    w, h = frame_size
    dx, dy = int((x1 - x0) * margin), int((y1 - y0) * margin)
    return max(x0 - dx, 0), max(y0 - dy, 0), min(x1 + dx, w), min(y1 + dy, h)


def crop(image: Picture, box: Sequence[float], margin: float = 0.1) -> Picture:
    """Cut `box` (px of `image`) with its margin out of an (H, W, 3) picture; a view, not a copy.

    Raises:
        ValueError: the box lies outside the picture.
    """
    h, w = image.shape[:2]
    x0, y0, x1, y1 = expand_box(box, margin, (w, h))
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"box {tuple(box)} lies outside the {w} × {h} frame")
    return image[y0:y1, x0:x1]


def _area(image: Picture, size: int) -> Picture:
    """OpenCV's INTER_AREA: the mean over the source area when shrinking; when enlarging it is bilinear."""
    return scale_to(np.ascontiguousarray(image) if is_array(image) else image, (size, size))


RESIZE: dict[str, Callable[[Picture, int], Picture]] = {"area": _area}


def resize_face(image: Picture, size: int = 256, method: str = "area") -> Picture:
    """Bring a crop (H, W, 3) to (size, size, 3) by the step called `method` (a key of `RESIZE`).

    The aspect ratio is not kept (as in the paper's code): both sides of a pair are stretched alike.

    Raises:
        ConfigError: no such step.
    """
    if method not in RESIZE:
        raise ConfigError(f"no resize step {method!r}", where="faces.resize", fix=f"one of: {', '.join(RESIZE)}")
    return RESIZE[method](image, size)

"""Cutting a face out of a frame, and the named steps that bring it to its stored size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from PIL import Image

from mrigan.config import FacesConfig
from mrigan.errors import ConfigError
from mrigan.imaging.picture import Picture, is_array, scale_to, to_device, to_host

# Eyes, nose and corners of the mouth in a face of 112 x 112 px, as ArcFace's authors align faces.
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
TEMPLATE_SIDE = 112


def cut_face(
    image: Picture, box: Sequence[float], config: FacesConfig, points: Sequence[Sequence[float]] = ()
) -> Picture:
    """The square face of `config.size` px that networks are shown.

    Args:
        image: (H, W, 3) uint8 RGB. box: (x0, y0, x1, y1) in its px.
        points: eyes, nose, corners of the mouth, 5 × (x, y) in the same px; needed by `align`. Without them (a picture
            that is one face) nothing can be aligned, and the box is cut.

    Raises:
        ValueError: the box lies outside the picture.
    """
    if config.align == "points5" and len(points):
        return aligned(image, points, config.size, config.align_scale)
    return resize_face(crop(image, box, config.margin, config.crop), config.size, config.resize)


def expand_box(
    box: Sequence[float], margin: float, frame_size: tuple[int, int], how: str = "truncate"
) -> tuple[int, int, int, int]:
    """A detected box as ints with `margin` of its width and height added on each side, clipped to the frame.

    Args:
        box: (x0, y0, x1, y1) in px.
        margin: fraction of the box's size, e.g. 0.1.
        frame_size: (w, h) in px.
        how: "truncate": the box is truncated to ints first and the margin is truncated too, as in the code of
            MRI-GAN's authors and of the DFDC's winner; "widen": box and margin are added, then brought to whole px
            that hold them, as for self-blended images.

    Returns:
        (x0, y0, x1, y1), x1 and y1 exclusive, at least 1 px wide and high as long as the box touches the frame.
    """
    w, h = frame_size
    if how == "widen":
        x0, y0, x1, y1 = (float(v) for v in box)
        dx, dy = (x1 - x0) * margin, (y1 - y0) * margin
        return max(int(x0 - dx), 0), max(int(y0 - dy), 0), min(int(x1 + dx) + 1, w), min(int(y1 + dy) + 1, h)
    left, top, right, bottom = (int(v) for v in box)
    aside, above = int((right - left) * margin), int((bottom - top) * margin)
    return max(left - aside, 0), max(top - above, 0), min(right + aside, w), min(bottom + above, h)


def crop(image: Picture, box: Sequence[float], margin: float = 0.1, how: str = "truncate") -> Picture:
    """Cut `box` (px of `image`) with its margin out of an (H, W, 3) picture; a view, not a copy. See `expand_box`.

    Raises:
        ValueError: the box lies outside the picture.
    """
    h, w = image.shape[:2]
    x0, y0, x1, y1 = expand_box(box, margin, (w, h), how)
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"box {tuple(box)} lies outside the {w} × {h} frame")
    return image[y0:y1, x0:x1]


def aligned(image: Picture, points: Sequence[Sequence[float]], size: int, scale: float) -> Picture:
    """A face turned, scaled and moved so that its five points come as near as possible to those of `TEMPLATE`.

    Args:
        points: 5 × (x, y) in px. scale: the template is shrunk by it around the centre, so that more is seen.
    """
    transform = alignment(points, size, scale)
    return _on_host(image, lambda picture: cv2.warpAffine(picture, transform, (size, size)))


def alignment(points: Sequence[Sequence[float]], size: int, scale: float) -> np.ndarray:
    """The (2, 3) matrix of the similarity that brings `points` next to the template's, by least squares.

    As complex numbers, a similarity is z → a z + b, and the best one has a closed form (Umeyama 1991, in two
    dimensions and without mirroring).
    """
    at_size = TEMPLATE * size / TEMPLATE_SIDE
    target = (at_size + size * (scale - 1) / 2) / scale
    source, goal = (np.asarray(each, np.float64) @ (1, 1j) for each in (points, target))
    centred = source - source.mean()
    spread = (abs(centred) ** 2).sum()
    turn = (centred.conj() * (goal - goal.mean())).sum() / spread if spread else 1.0 + 0j
    move = goal.mean() - turn * source.mean()
    return np.array([[turn.real, -turn.imag, move.real], [turn.imag, turn.real, move.imag]])


def _area(image: Picture, size: int) -> Picture:
    """OpenCV's INTER_AREA: the mean over the source area when shrinking; when enlarging it is bilinear."""
    return scale_to(np.ascontiguousarray(image) if is_array(image) else image, (size, size))


def _antialiased(image: Picture, size: int) -> Picture:
    """Pillow's and torchvision's bilinear: a triangle as wide as what a new pixel covers."""

    def resized(picture: np.ndarray) -> np.ndarray:
        return np.array(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))

    return _on_host(image, resized)


def _linear(image: Picture, size: int) -> Picture:
    """OpenCV's INTER_LINEAR, which leaves pixels out where a face shrinks."""
    return _on_host(image, lambda picture: cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR))


def _letterbox(image: Picture, size: int) -> Picture:
    """The aspect ratio kept: the long side becomes `size`, centred on black."""

    def boxed(picture: np.ndarray) -> np.ndarray:
        h, w = picture.shape[:2]
        scale = size / max(w, h)
        width, height = max(int(w * scale), 1) if h >= w else size, max(int(h * scale), 1) if w > h else size
        how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        out = np.zeros((size, size, 3), np.uint8)
        x, y = (size - width) // 2, (size - height) // 2
        out[y : y + height, x : x + width] = cv2.resize(picture, (width, height), interpolation=how)
        return out

    return _on_host(image, boxed)


def _on_host(image: Picture, operation: Callable[[np.ndarray], np.ndarray]) -> Picture:
    """An operation of OpenCV or Pillow on a picture that may lie on a device, where the result goes back to."""
    done = operation(np.ascontiguousarray(to_host(image)))
    return done if is_array(image) else to_device(done, str(image.device))


RESIZE: dict[str, Callable[[Picture, int], Picture]] = {
    "area": _area,
    "antialiased": _antialiased,
    "linear": _linear,
    "letterbox": _letterbox,
}


def resize_face(image: Picture, size: int = 256, method: str = "area") -> Picture:
    """Bring a crop (H, W, 3) to (size, size, 3) by the step called `method` (a key of `RESIZE`).

    All but `letterbox` stretch the crop (as in the paper's code): both sides of a pair alike.

    Raises:
        ConfigError: no such step.
    """
    if method not in RESIZE:
        raise ConfigError(f"no resize step {method!r}", where="faces.resize", fix=f"one of: {', '.join(RESIZE)}")
    return RESIZE[method](image, size)

"""The six augmentations of MRI-GAN, section 3, each a pure function (picture, settings) → picture.

A picture is an (H, W, 3) uint8 array, or (N, 3, H, W) uint8 planes on a device. The ranges are the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mrigan.imaging.coordinates import Size, rotation_matrix
from mrigan.imaging.methods import Die, Method
from mrigan.imaging.picture import Picture, operations

BLUR = (7, 12)  # px
CONTRAST, BRIGHTNESS = (-20, 20), (-20, 20)
DEGREES = (-15, 15)
RESCALE = ((800, 600), (1280, 720))  # px


def blur(picture: Picture, size: int) -> Picture:
    """Box blur of `size` × `size` px."""
    return operations(picture).blur(picture, size)


def contrast(picture: Picture, value: float) -> Picture:
    """f·x + 127·(1 − f) with f = 131·(c + 127) / (127·(131 − c)); `value` c in −127..127, 0 changes nothing."""
    factor = 131 * (value + 127) / (127 * (131 - value))
    return operations(picture).linear(picture, factor, 127 * (1 - factor))


def brightness(picture: Picture, value: float) -> Picture:
    """x·(255 − b)/255 + b for b > 0 (black is lifted), x·(255 + b)/255 for b < 0 (white is lowered); b = `value`."""
    return operations(picture).linear(picture, (255 - abs(value)) / 255, max(value, 0))


def rotate(picture: Picture, degrees: float) -> Picture:
    """Rotate about the centre, counter-clockwise; the size stays, corners that come in are black."""
    return operations(picture).rotate(picture, degrees)


def flip(picture: Picture) -> Picture:
    """Mirror left and right."""
    return operations(picture).flip(picture)


def rescale(picture: Picture, size: Sequence[int]) -> Picture:
    """Resize to (width, height), by area; the aspect ratio is not kept (as in the paper)."""
    return operations(picture).resize(picture, (int(size[0]), int(size[1])))


def _rotated(frame: Size, degrees: float) -> tuple[np.ndarray, Size]:
    return rotation_matrix(frame, degrees), frame


def _flipped(frame: Size) -> tuple[np.ndarray, Size]:
    return np.array([[-1.0, 0, frame[0]], [0, 1, 0], [0, 0, 1]]), frame


def _rescaled(frame: Size, size: Sequence[int]) -> tuple[np.ndarray, Size]:
    width, height = (int(side) for side in size)
    return np.diag([width / frame[0], height / frame[1], 1.0]), (width, height)


def _drawn(key: str, bounds: tuple[int, int], name: str = "") -> Any:
    return lambda die: {key: die.integer(name or key, bounds)}


def _size(die: Die) -> dict[str, Any]:
    return {"size": list(die.choice("rescale", RESCALE))}


AUGMENTATIONS: dict[str, Method] = {
    "blur": Method(blur, _drawn("size", BLUR, "blur")),
    "contrast": Method(contrast, _drawn("value", CONTRAST, "contrast")),
    "brightness": Method(brightness, _drawn("value", BRIGHTNESS, "brightness")),
    "rotation": Method(rotate, _drawn("degrees", DEGREES), _rotated),
    "flip": Method(flip, lambda die: {}, _flipped),
    "rescale": Method(rescale, _size, _rescaled),
}

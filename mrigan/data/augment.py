"""The detector's augmentation, as two named recipes.

    face   one of {padded crop, contrast, box blur}, then one of {flip, grey, brightness, rotation}, then random erasing
    mri    random erasing alone, on the MRI that the generator predicted: `random_erasing_`, in the trainer

The face recipe runs in the loader's workers, on uint8 pictures, and holds its own flip: load with `flip=0`. The authors
give neither the padding of the crop nor the strength of the jitters nor what the blur's 1 to 3 counts; ours are below.
All numbers come from `Generator.random()` alone, in a fixed order, so that a sample's draws outlive NumPy versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch

from mrigan.data.decode import Picture, flip
from mrigan.errors import ConfigError

Augment = Callable[[Picture, np.random.Generator], Picture]  # (H, W, 3) uint8 RGB → the same; H and W stay

PADDING = 1 / 8  # of the side, on each side, before the crop: 28 px of 224
JITTER = 0.5  # contrast and brightness are scaled by 1 ± this
BLUR_RADIUS = (1, 3)  # px: boxes of 3, 5 or 7
FLIP, GREY, ERASE = 0.3, 0.05, 0.3  # probabilities
ROTATION = 30.0  # degrees, both ways
ERASE_AREA = (0.02, 0.33)  # of the picture
ERASE_ASPECT = (0.3, 3.3)  # height / width
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def recipe(name: str) -> Augment | None:
    """The part of a recipe that the loader applies to faces; None for "mri", which has none.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in ("face", "mri"):
        raise ConfigError(f"unknown augmentation {name!r}", fix="known ones: face, mri")
    return augment_face if name == "face" else None


def augment_face(face: Picture, rng: np.random.Generator) -> Picture:
    """The "face" recipe."""
    face = _one_of(rng, padded_crop, contrast, box_blur)(face, rng)
    face = _one_of(rng, maybe_flip, maybe_grey, brightness, rotation)(face, rng)
    return erase(face, rng)


def padded_crop(face: Picture, rng: np.random.Generator) -> Picture:
    """A window of the picture's own size, anywhere in the picture padded with black."""
    height, width = face.shape[:2]
    down, right = (_integer(rng, -round(side * PADDING), round(side * PADDING)) for side in (height, width))
    return _moved(face, np.array([[1, 0, -right], [0, 1, -down]], np.float32), nearest=True)


def contrast(face: Picture, rng: np.random.Generator) -> Picture:
    """Distances from the mean grey scaled by 1 ± `JITTER`."""
    factor = _between(rng, 1 - JITTER, 1 + JITTER)
    mean = float((face.reshape(-1, 3).mean(axis=0) * _LUMA).sum())
    return _mapped(face, factor, mean * (1 - factor))


def box_blur(face: Picture, rng: np.random.Generator) -> Picture:
    """The mean over a box of radius 1 to 3 px."""
    import cv2

    side = 2 * _integer(rng, *BLUR_RADIUS) + 1
    return cv2.blur(face, (side, side))  # type: ignore[return-value]


def maybe_flip(face: Picture, rng: np.random.Generator) -> Picture:
    """Mirrored left to right with probability `FLIP`."""
    return flip(face) if rng.random() < FLIP else face


def maybe_grey(face: Picture, rng: np.random.Generator) -> Picture:
    """Without colour with probability `GREY`."""
    if rng.random() >= GREY:
        return face
    grey = np.rint(face.astype(np.float32) @ _LUMA).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def brightness(face: Picture, rng: np.random.Generator) -> Picture:
    """Scaled by 1 ± `JITTER`."""
    return _mapped(face, _between(rng, 1 - JITTER, 1 + JITTER), 0.0)


def rotation(face: Picture, rng: np.random.Generator) -> Picture:
    """Turned about its centre by up to `ROTATION` degrees; the corners become black."""
    import cv2

    height, width = face.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), _between(rng, -ROTATION, ROTATION), 1.0)
    return _moved(face, turn)


def erase(face: Picture, rng: np.random.Generator) -> Picture:
    """A black rectangle with probability `ERASE` (Zhong et al., 2020)."""
    height, width = face.shape[:2]
    box = _erased_box(rng, height, width)
    if box is None:
        return face
    face = face.copy()
    face[box] = 0
    return face


def random_erasing_(
    batch: torch.Tensor, seeds: Iterable[int] | torch.Tensor, probability: float = ERASE
) -> torch.Tensor:
    """Set a rectangle of some pictures to 0, in place, on any device; each is drawn from its seed alone.

    Args:
        batch: (N, C, H, W).
        seeds: (N,) >= 0, in CPU memory: `Batch.seeds`.
        probability: of a picture to lose a rectangle.

    Returns:
        `batch`.
    """
    each = seeds.tolist() if isinstance(seeds, torch.Tensor) else list(seeds)
    if len(each) != len(batch):
        raise ValueError(f"{len(each)} seeds for {len(batch)} pictures")
    for picture, seed in zip(batch, each, strict=True):
        height, width = picture.shape[-2:]
        box = _erased_box(np.random.Generator(np.random.Philox(key=seed)), height, width, probability)
        if box is not None:
            picture[(slice(None), *box)] = 0
    return batch


def _erased_box(
    rng: np.random.Generator, height: int, width: int, probability: float = ERASE
) -> tuple[slice, slice] | None:
    if rng.random() >= probability:
        return None
    for _ in range(10):  # a long rectangle may not fit; the share that never fits is below 1 in 10,000
        area = _between(rng, *ERASE_AREA) * height * width
        aspect = math.exp(_between(rng, math.log(ERASE_ASPECT[0]), math.log(ERASE_ASPECT[1])))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < h < height and 0 < w < width:
            top, left = _integer(rng, 0, height - h), _integer(rng, 0, width - w)
            return slice(top, top + h), slice(left, left + w)
    return None


def _one_of(rng: np.random.Generator, *steps: Augment) -> Augment:
    return steps[_integer(rng, 0, len(steps) - 1)]


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _integer(rng: np.random.Generator, low: int, high: int) -> int:
    """Low and high included."""
    return low + int(rng.random() * (high - low + 1))


def _mapped(face: Picture, factor: float, shift: float) -> Picture:
    """Every value x becomes factor · x + shift, rounded and clipped."""
    table = np.clip(np.rint(np.arange(256) * factor + shift), 0, 255).astype(np.uint8)
    return table[face]


def _moved(face: Picture, matrix: np.ndarray, nearest: bool = False) -> Picture:
    import cv2

    height, width = face.shape[:2]
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return cv2.warpAffine(face, matrix, (width, height), flags=how, borderMode=cv2.BORDER_CONSTANT)  # type: ignore[return-value]

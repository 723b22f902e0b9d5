"""The detector's augmentation, as two named recipes.

    face   one of {padded crop, contrast, box blur}, then one of {flip, grey, brightness, rotation}, then random erasing
    mri    random erasing alone, on the MRI that the generator predicted: `random_erasing_`, in the trainer

The face recipe runs in the loader, on uint8 pictures (where those are decoded on a GPU: there, see `on_planes`), and
holds its own flip: load with `flip=0`. The authors give neither the padding of the crop nor the strength of the jitters
nor what the blur's 1 to 3 counts; ours are below.
All numbers come from `Generator.random()` alone, in a fixed order, so that a sample's draws outlive NumPy versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch

from mrigan.data.decode import Picture
from mrigan.data.operations import OnArrays, OnPlanes, Operations
from mrigan.errors import ConfigError

Augment = Callable[[Picture, np.random.Generator], Picture]  # (H, W, 3) uint8 RGB → the same; H and W stay

PADDING = 1 / 8  # of the side, on each side, before the crop: 28 px of 224
JITTER = 0.5  # contrast and brightness are scaled by 1 ± this
BLUR_RADIUS = (1, 3)  # px: boxes of 3, 5 or 7
FLIP, GREY, ERASE = 0.3, 0.05, 0.3  # probabilities
ROTATION = 30.0  # degrees, both ways
ERASE_AREA = (0.02, 0.33)  # of the picture
ERASE_ASPECT = (0.3, 3.3)  # height / width
_ARRAYS = OnArrays()


def recipe(name: str) -> Augment | None:
    """The part of a recipe that the loader applies to faces; None for "mri", which has none.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in ("face", "mri"):
        raise ConfigError(f"unknown augmentation {name!r}", fix="known ones: face, mri")
    return augment_face if name == "face" else None


def on_planes(augment: Augment) -> Callable[[torch.Tensor, np.random.Generator], torch.Tensor] | None:
    """The same augmentation of (3, H, W) uint8 planes on their device, from the same draws; None where it has no such
    form. Within 1 of it (a rotation: where OpenCV rounds its weights, a few values more)."""
    return partial(augment_face, do=OnPlanes()) if augment is augment_face else None


def augment_face(face: Any, rng: np.random.Generator, do: Operations = _ARRAYS) -> Any:
    """The "face" recipe, of whatever kind of picture `do` is for."""
    face = _one_of(rng, padded_crop, contrast, box_blur)(face, rng, do)
    face = _one_of(rng, maybe_flip, maybe_grey, brightness, rotation)(face, rng, do)
    return erase(face, rng, do)


def padded_crop(face: Any, rng: np.random.Generator, do: Operations = _ARRAYS) -> Any:
    """A window of the picture's own size, anywhere in the picture padded with black."""
    down, right = (_integer(rng, -round(side * PADDING), round(side * PADDING)) for side in do.size(face))
    return do.shift(face, -right, -down)


def contrast(face: Any, rng: np.random.Generator, do: Operations = _ARRAYS) -> Any:
    """Distances from the mean grey scaled by 1 ± `JITTER`."""
    factor = _between(rng, 1 - JITTER, 1 + JITTER)
    return do.scale(face, factor, do.mean_grey(face) * (1 - factor))


def box_blur(face: Any, rng: np.random.Generator, do: Operations = _ARRAYS) -> Any:
    """The mean over a box of radius 1 to 3 px."""
    return do.blur(face, 2 * _integer(rng, *BLUR_RADIUS) + 1)


def maybe_flip(face: Any, rng: np.random.Generator, do: Operations = _ARRAYS) -> Any:
    """Mirrored left to right with probability `FLIP`."""
    return do.flip(face) if rng.random() < FLIP else face


def maybe_grey(face: Any, rng: np.random.Generator, do: Operations = _ARRAYS) -> Any:
    """Without colour with probability `GREY`."""
    return do.grey(face) if rng.random() < GREY else face


def brightness(face: Any, rng: np.random.Generator, do: Operations = _ARRAYS) -> Any:
    """Scaled by 1 ± `JITTER`."""
    return do.scale(face, _between(rng, 1 - JITTER, 1 + JITTER), 0.0)


def rotation(face: Any, rng: np.random.Generator, do: Operations = _ARRAYS) -> Any:
    """Turned about its centre by up to `ROTATION` degrees; the corners become black."""
    return do.turn(face, _between(rng, -ROTATION, ROTATION))


def erase(face: Any, rng: np.random.Generator, do: Operations = _ARRAYS) -> Any:
    """A black rectangle with probability `ERASE` (Zhong et al., 2020)."""
    box = _erased_box(rng, *do.size(face))
    return face if box is None else do.blacken(face, box)


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


def _one_of(rng: np.random.Generator, *steps: Callable[..., Any]) -> Callable[..., Any]:
    return steps[_integer(rng, 0, len(steps) - 1)]


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _integer(rng: np.random.Generator, low: int, high: int) -> int:
    """Low and high included."""
    return low + int(rng.random() * (high - low + 1))

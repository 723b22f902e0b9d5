"""The detector's augmentation, as two named recipes.

    face   one of {crop, contrast, box blur}, then one of {flip, grey, brightness, rotation}, then random erasing
    mri    random erasing alone, on the MRI that the generator predicted: `random_erasing_`, in the trainer

The face recipe runs in the loader, on uint8 pictures of the stored size (where those are decoded on a GPU: there),
before the detector resizes and normalises them. It holds its own flip: load with `flip=0`.

As the authors' code has it: the strengths of both jitters are drawn once a run; the blur is PIL's BoxBlur of radius 1
to 3; erasing sets what Normalize makes 0, the mean grey of ImageNet, because black is what an MRI says of a real face.
Two deviations. The "unresized" face is the stored one of 256 px here, which `faces.resize` made of the face in its
frame. And `crop="near"` is ours, for a detector that should see a face in nearly every picture: with the authors' crop
the face keeps .28 of the picture on average, and one crop in a hundred shows none of it.
All numbers come from `Generator.random()` alone, in a fixed order, so that a sample's draws outlive NumPy versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from mrigan.errors import ConfigError
from mrigan.imaging.picture import Picture, operations

Augment = Callable[[Any, np.random.Generator], Any]  # (H, W, 3) uint8 RGB → the same; H and W stay

NEAR = 1 / 8  # of the side: how far the near crop moves
CROP = 224 / 256  # of the side: the authors' crop of 224 px, after a padding of 224 px on each side, of a stored face
ERASED = (124, 116, 104)  # the mean colour of ImageNet, in uint8: what Normalize makes 0
BLUR_RADIUS = (1, 3)  # px: boxes of 3, 5 or 7
FLIP, GREY, ERASE = 0.3, 0.05, 0.3  # probabilities
ROTATION = 30.0  # degrees, both ways
ERASE_AREA = (0.02, 0.33)  # of the picture
ERASE_ASPECT = (0.3, 3.3)  # height / width


@dataclass(frozen=True)
class FaceRecipe:
    """The "face" recipe, of whatever kind of picture `do` is for.

    Attributes:
        crop: "authors" or "near".
        contrast, brightness: strengths in 0...1; a factor is drawn from 1 - strength ... 1 + strength for each picture.
    """

    crop: str
    contrast: float
    brightness: float

    def __call__(self, face: Picture, rng: np.random.Generator) -> Picture:
        """One picture with its generator."""
        crop = padded_crop if self.crop == "authors" else near_crop
        face = _one_of(rng, crop, partial(contrast, strength=self.contrast), box_blur)(face, rng)
        brighten = partial(brightness, strength=self.brightness)
        face = _one_of(rng, maybe_flip, maybe_grey, brighten, rotation)(face, rng)
        return erase(face, rng)


def recipe(name: str, run: np.random.Generator, crop: str = "authors") -> FaceRecipe | None:
    """The part of a recipe that the loader applies to faces; None for "mri", which has none.

    Args:
        run: what is drawn once a run is drawn from it: give the same one after a restart.
        crop: "authors" or "near".

    Raises:
        ConfigError: an unknown name.
    """
    if name not in ("face", "mri"):
        raise ConfigError(f"unknown augmentation {name!r}", fix="known ones: face, mri")
    return FaceRecipe(crop, contrast=run.random(), brightness=run.random()) if name == "face" else None


def takes_planes(augment: Augment) -> bool:
    """Whether it also takes (3, H, W) planes on a device, and changes them as it changes arrays."""
    return isinstance(augment, FaceRecipe)


def padded_crop(face: Picture, rng: np.random.Generator) -> Picture:
    """The authors' crop: a window of 224 px of 256, anywhere in the picture padded by its own size with black."""
    do = operations(face)
    width, height = size = do.size(face)
    wide, high = round(width * CROP), round(height * CROP)
    top, left = _integer(rng, -high, height), _integer(rng, -wide, width)
    return do.resize(do.window(face, left, top, (wide, high)), size, "linear")


def near_crop(face: Picture, rng: np.random.Generator) -> Picture:
    """Ours: a window of the picture's own size, an eighth of it away at most."""
    do = operations(face)
    width, height = do.size(face)
    top, left = (_integer(rng, -round(side * NEAR), round(side * NEAR)) for side in (height, width))
    return do.window(face, left, top, (width, height))


def contrast(face: Picture, rng: np.random.Generator, *, strength: float) -> Picture:
    """Distances from the mean grey scaled by 1 ± `strength`."""
    factor = _between(rng, 1 - strength, 1 + strength)
    do = operations(face)
    return do.linear(face, factor, do.mean_luma(face) * (1 - factor))


def box_blur(face: Picture, rng: np.random.Generator) -> Picture:
    """PIL's BoxBlur of radius 1 to 3: the mean over a box of 3, 5 or 7 px."""
    return operations(face).blur(face, 2 * _integer(rng, *BLUR_RADIUS) + 1, "repeat")


def maybe_flip(face: Picture, rng: np.random.Generator) -> Picture:
    """Mirrored left to right with probability `FLIP`."""
    return operations(face).flip(face) if rng.random() < FLIP else face


def maybe_grey(face: Picture, rng: np.random.Generator) -> Picture:
    """Without colour with probability `GREY`."""
    return operations(face).without_colour(face) if rng.random() < GREY else face


def brightness(face: Picture, rng: np.random.Generator, *, strength: float) -> Picture:
    """Scaled by 1 ± `strength`."""
    return operations(face).linear(face, _between(rng, 1 - strength, 1 + strength), 0.0)


def rotation(face: Picture, rng: np.random.Generator) -> Picture:
    """Turned about its centre by up to `ROTATION` degrees; the corners become black."""
    return operations(face).rotate(face, _between(rng, -ROTATION, ROTATION), exact=False)


def erase(face: Picture, rng: np.random.Generator) -> Picture:
    """A rectangle of the mean grey with probability `ERASE` (Zhong et al., 2020)."""
    do = operations(face)
    width, height = do.size(face)
    box = _erased_box(rng, height, width)
    return face if box is None else do.fill(face, box, ERASED)


def random_erasing_(
    batch: torch.Tensor,
    seeds: Iterable[int] | torch.Tensor,
    value: Sequence[float],
    probability: float = ERASE,
) -> torch.Tensor:
    """Set a rectangle of some pictures to one colour, in place, on any device; each is drawn from its seed alone.

    Args:
        batch: (N, C, H, W).
        seeds: (N,) >= 0, in CPU memory: `Batch.seeds`.
        value: the colour, a number for each channel; what the network normalises to 0.
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
            for plane, level in zip(picture, value, strict=True):  # a tensor of them would wait for the device
                plane[box] = level
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

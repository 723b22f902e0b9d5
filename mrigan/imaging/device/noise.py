"""The seven noises of `mrigan.imaging.noise` on a device: the same tables, and the same field, drawn on the CPU.

A field that a device drew by itself would be another one, and sets built on GPUs could not be compared with others, nor
made again elsewhere. A frame's field is drawn and sent once, for its original and all fakes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from mrigan.imaging.device.pictures import to_uint8
from mrigan.imaging.noise import LEVELS, factors, level, poisson_table, steps

Noise = Callable[..., Tensor]


def sent(field: np.ndarray, device: str) -> Tensor:
    """A (H, W, 3) uint16 field as (1, 3, H, W) int32 on `device`; 16 bits a value travel."""
    half = torch.from_numpy(field.view(np.int16)).to(device)
    return (half.to(torch.int32) & (LEVELS - 1)).permute(2, 0, 1)[None]


def gaussian(images: Tensor, field: Tensor, variance: float = 0.01) -> Tensor:
    """Add normal noise.

    Args:
        images: (N, 3, H, W) uint8. field: (1 or N, 3, H, W) int32, see `sent`. variance: for values in 0..1.

    Returns:
        (N, 3, H, W) uint8, as of all noises here.
    """
    table = _steps(variance, str(images.device))
    return (images.to(torch.int16) + table[field]).clamp_(0, 255).to(torch.uint8)


def speckle(images: Tensor, field: Tensor, variance: float = 0.01) -> Tensor:
    """Multiply each value by 1 + normal noise."""
    return to_uint8(images * _factors(variance, str(images.device))[field])


def salt_and_pepper(images: Tensor, field: Tensor, amount: float = 0.05, ratio: float = 0.5) -> Tensor:
    """Set a part `amount` of all values to 255 or 0; `ratio` of these to 255."""
    salted, peppered = field < level(amount * ratio), field < level(amount)
    return images.masked_fill(peppered, 0).masked_fill_(salted.expand_as(images), 255)


def pepper(images: Tensor, field: Tensor, amount: float = 0.05) -> Tensor:
    """Set a part `amount` of all values to 0."""
    return salt_and_pepper(images, field, amount, 0.0)


def salt(images: Tensor, field: Tensor, amount: float = 0.05) -> Tensor:
    """Set a part `amount` of all values to 255."""
    return salt_and_pepper(images, field, amount, 1.0)


def poisson(images: Tensor, field: Tensor, levels: int = 256) -> Tensor:
    """Replace each value by a Poisson draw: of mean `levels` at white, in proportion below."""
    return _poisson(levels, str(images.device))[images.to(torch.int32) * LEVELS + field]


NOISES: dict[str, Noise] = {
    "gaussian": gaussian,
    "speckle": speckle,
    "salt_and_pepper": salt_and_pepper,
    "pepper": pepper,
    "salt": salt,
    "poisson": poisson,
    "localvar": gaussian,  # the recipe's variance is one number
}


@lru_cache(maxsize=4)
def _steps(variance: float, device: str) -> Tensor:
    return torch.from_numpy(steps(variance)).to(device)


@lru_cache(maxsize=4)
def _factors(variance: float, device: str) -> Tensor:
    return torch.from_numpy(factors(variance)).to(device)


@lru_cache(maxsize=2)
def _poisson(levels: int, device: str) -> Tensor:
    return torch.from_numpy(poisson_table(levels)).to(device)

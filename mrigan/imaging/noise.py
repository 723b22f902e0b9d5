"""The seven noises of MRI-GAN, section 3, with the meaning of scikit-image's `random_noise`, on uint8 pictures.

Each is a pure function (picture, field, settings) → picture. The field holds 16-bit uniform numbers, one for each
value of the picture, and becomes noise by a quantile function. So two pictures of one shape under one field get *common
random numbers*: the same noise where it does not depend on the picture, and where it does (speckle, Poisson) equal
pixels stay equal and like pixels stay alike. A fake and its original need that: independent noise on both sides, or on
one, would bury their difference.

The field is taken from the raw stream of the bit generator, which NumPy guarantees, unlike that of its distributions.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mrigan.imaging.arrays import LEVELS
from mrigan.imaging.methods import Method, always
from mrigan.imaging.picture import Picture, operations

VARIANCE = 0.01  # scikit-image's default, for values in 0..1
AMOUNT, RATIO = 0.05, 0.5  # as its


def noise_field(rng: np.random.Generator, picture: Picture) -> Picture:
    """What the noises below draw from: a field for the picture, where the picture lies.

    It is drawn on the CPU from a 64-bit generator, as NumPy's default one is; tails reach 4.3 standard deviations.
    """
    do = operations(picture)
    width, height = do.size(picture)
    return do.placed(uniform_field(rng, (height, width, 3)), do.device(picture))


def uniform_field(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """uint16 numbers, uniform on 0...65535, of `shape`."""
    count = int(np.prod(shape))
    raw = np.asarray(rng.bit_generator.random_raw(-(-count // 4)), dtype="<u8")
    return raw.view("<u2")[:count].reshape(shape)


def gaussian(picture: Picture, field: Picture, variance: float = VARIANCE) -> Picture:
    """Add normal noise of `variance`, for values in 0..1."""
    return operations(picture).add(picture, field, _steps, variance)


def speckle(picture: Picture, field: Picture, variance: float = VARIANCE) -> Picture:
    """Multiply each value by 1 + normal noise of `variance`."""
    return operations(picture).multiply(picture, field, _factors, variance)


def salt_and_pepper(picture: Picture, field: Picture, amount: float = AMOUNT, ratio: float = RATIO) -> Picture:
    """Set a part `amount` of all values (each channel by itself) to 255 or 0; `ratio` of these to 255."""
    return operations(picture).bleach(picture, field, _level(amount * ratio), _level(amount))


def pepper(picture: Picture, field: Picture, amount: float = AMOUNT) -> Picture:
    """Set a part `amount` of all values to 0."""
    return salt_and_pepper(picture, field, amount, 0.0)


def salt(picture: Picture, field: Picture, amount: float = AMOUNT) -> Picture:
    """Set a part `amount` of all values to 255."""
    return salt_and_pepper(picture, field, amount, 1.0)


def poisson(picture: Picture, field: Picture, levels: int = 256) -> Picture:
    """Replace each value by a Poisson draw: of mean `levels` at white, in proportion below.

    scikit-image takes for `levels` the power of two at or above the number of different values in the picture, which is
    256 for every natural uint8 frame. Fewer give a stronger noise.
    """
    return operations(picture).replace(picture, field, _poisson_table, levels)


NOISES: dict[str, Method] = {
    "gaussian": Method(gaussian, always(variance=VARIANCE)),
    "speckle": Method(speckle, always(variance=VARIANCE)),
    "salt_and_pepper": Method(salt_and_pepper, always(amount=AMOUNT, ratio=RATIO)),
    "pepper": Method(pepper, always(amount=AMOUNT)),
    "salt": Method(salt, always(amount=AMOUNT)),
    "poisson": Method(poisson, always(levels=256)),
    "localvar": Method(gaussian, always(variance=VARIANCE)),  # a variance for each pixel, which is one in the paper
}


def _level(part: float) -> int:
    """The level of the field below which the part `part` of its numbers lies."""
    return round(part * LEVELS)


@lru_cache(maxsize=1)
def _normal() -> np.ndarray:
    """The standard normal quantile of each level of the field."""
    from scipy.special import ndtri

    return np.asarray(ndtri((np.arange(LEVELS) + 0.5) / LEVELS), np.float32)


@lru_cache(maxsize=4)
def _steps(variance: float) -> np.ndarray:
    """Gaussian noise in 1/255 for each level of the field, int16: values are whole, so rounding it rounds the sum."""
    return np.rint(255 * np.sqrt(variance) * _normal()).astype(np.int16)


@lru_cache(maxsize=4)
def _factors(variance: float) -> np.ndarray:
    """What speckle noise multiplies by, for each level of the field; float32."""
    return (1 + np.sqrt(variance) * _normal()).astype(np.float32)


@lru_cache(maxsize=2)
def _poisson_table(levels: int) -> np.ndarray:
    """The noisy value for each value and level of the field: 256 × 65536 uint8, 16 MiB."""
    from scipy.special import pdtr

    counts = np.arange(2 * levels + 64)
    values = np.clip(np.rint(counts * (255 / levels)), 0, 255).astype(np.uint8)
    table = np.empty((256, LEVELS), np.uint8)
    for value in range(256):
        ends = np.rint(pdtr(counts, value * levels / 255) * LEVELS).astype(np.int64)
        ends[-1] = LEVELS
        table[value] = np.repeat(values, np.diff(ends, prepend=0))
    return table.ravel()

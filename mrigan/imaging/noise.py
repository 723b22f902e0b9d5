"""The seven noises of MRI-GAN, section 3, with the meaning of scikit-image's `random_noise`, on uint8 pictures.

Each is a pure function (picture, generator, parameters) → picture. All draw one thing from the generator, a field of
16-bit uniform numbers of the picture's shape, and turn it into noise by a quantile function. So two pictures of one
shape under generators of one state get *common random numbers*: the same field where the noise does not depend on the
picture, and where it does (speckle, Poisson) equal pixels stay equal and like pixels stay alike. A fake and its
original need that: independent noise on both sides, or on one, would bury their difference.

The field is taken from the raw stream of the bit generator, which NumPy guarantees, unlike that of its distributions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

LEVELS = 1 << 16  # of the uniform field: tails reach 4.3 standard deviations
BAND = 16  # rows

Noise = Callable[..., np.ndarray]


def uniform_field(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """uint16 numbers, uniform on 0...65535, of `shape`; from a 64-bit generator, as NumPy's default one is."""
    count = int(np.prod(shape))
    raw = np.asarray(rng.bit_generator.random_raw(-(-count // 4)), dtype="<u8")
    return raw.view("<u2")[:count].reshape(shape)


def gaussian(image: np.ndarray, rng: np.random.Generator, variance: float = 0.01) -> np.ndarray:
    """Add normal noise.

    Args:
        image: (H, W, C) uint8.
        variance: of the noise, for values in 0..1.

    Returns:
        (H, W, C) uint8, rounded and clipped, as of all noises here.
    """
    import cv2

    table = steps(variance)
    return _bands(image, rng, lambda band, field: cv2.add(band, table[field], dtype=cv2.CV_8U))


def localvar(image: np.ndarray, rng: np.random.Generator, variance: float | np.ndarray = 0.01) -> np.ndarray:
    """Add normal noise whose variance is given for each pixel.

    Args:
        variance: (H, W, C) or (H, W, 1), for values in 0..1; one number (scikit-image's default is .01 everywhere, and
            the paper's recipe) is the same noise as `gaussian`.
    """
    import cv2

    if np.ndim(variance) == 0:
        return gaussian(image, rng, float(variance))
    spread = 255 * np.sqrt(np.asarray(variance, np.float32))
    noise = _normal()[uniform_field(rng, image.shape)] * spread
    return cv2.add(image, noise.astype(np.float32, copy=False), dtype=cv2.CV_8U)


def speckle(image: np.ndarray, rng: np.random.Generator, variance: float = 0.01) -> np.ndarray:
    """Multiply each value by 1 + normal noise of `variance`."""
    import cv2

    table = factors(variance)
    return _bands(image, rng, lambda band, field: cv2.multiply(band, table[field], dtype=cv2.CV_8U))


def salt_and_pepper(
    image: np.ndarray, rng: np.random.Generator, amount: float = 0.05, ratio: float = 0.5
) -> np.ndarray:
    """Set a part `amount` of all values (each channel by itself) to 255 or 0; `ratio` of these to 255."""
    import cv2

    field = uniform_field(rng, image.shape)
    salted = cv2.max(image, _mask(field < level(amount * ratio)))
    peppered = (field >= level(amount * ratio)) & (field < level(amount))
    return cv2.subtract(salted, _mask(peppered))


def pepper(image: np.ndarray, rng: np.random.Generator, amount: float = 0.05) -> np.ndarray:
    """Set a part `amount` of all values to 0."""
    return salt_and_pepper(image, rng, amount, 0.0)


def salt(image: np.ndarray, rng: np.random.Generator, amount: float = 0.05) -> np.ndarray:
    """Set a part `amount` of all values to 255."""
    return salt_and_pepper(image, rng, amount, 1.0)


def poisson(image: np.ndarray, rng: np.random.Generator, levels: int = 256) -> np.ndarray:
    """Replace each value by a Poisson draw: of mean `levels` at white, in proportion below.

    scikit-image takes for `levels` the power of two at or above the number of different values in the picture, which is
    256 for every natural uint8 frame. Fewer give a stronger noise.
    """
    table = poisson_table(levels)
    return _bands(image, rng, lambda band, field: table.take(band.astype(np.int32) * LEVELS + field))


NOISES: dict[str, Noise] = {
    "gaussian": gaussian,
    "speckle": speckle,
    "salt_and_pepper": salt_and_pepper,
    "pepper": pepper,
    "salt": salt,
    "poisson": poisson,
    "localvar": localvar,
}


def _bands(
    image: np.ndarray, rng: np.random.Generator, noisy: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """`noisy(rows, their field)` for some rows after the other: what is in between then stays in the cache."""
    field, out = uniform_field(rng, image.shape), np.empty_like(image)
    for start in range(0, len(image), BAND):
        rows = slice(start, start + BAND)
        out[rows] = noisy(image[rows], field[rows])
    return out


def level(part: float) -> int:
    """The level of the field below which the part `part` of its numbers lies."""
    return round(part * LEVELS)


def _mask(where: np.ndarray) -> np.ndarray:
    return where.view(np.uint8) * np.uint8(255)


@lru_cache(maxsize=1)
def _normal() -> np.ndarray:
    """The standard normal quantile of each level of the field."""
    from scipy.special import ndtri

    return np.asarray(ndtri((np.arange(LEVELS) + 0.5) / LEVELS), np.float32)


@lru_cache(maxsize=4)
def steps(variance: float) -> np.ndarray:
    """Gaussian noise in 1/255 for each level of the field, int16: values are whole, so rounding it rounds the sum."""
    return np.rint(255 * np.sqrt(variance) * _normal()).astype(np.int16)


@lru_cache(maxsize=4)
def factors(variance: float) -> np.ndarray:
    """What speckle noise multiplies by, for each level of the field; float32."""
    return (1 + np.sqrt(variance) * _normal()).astype(np.float32)


@lru_cache(maxsize=2)
def poisson_table(levels: int) -> np.ndarray:
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

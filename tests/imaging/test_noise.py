"""The seven noises against scikit-image, and that both sides of a pair get the same."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from skimage.util import img_as_ubyte, random_noise

from mrigan.imaging.noise import NOISES, gaussian, localvar, poisson, uniform_field
from mrigan.mri import mri_image

THEIRS: dict[str, dict[str, Any]] = {
    "gaussian": {"mode": "gaussian", "var": 0.01},
    "speckle": {"mode": "speckle", "var": 0.01},
    "salt_and_pepper": {"mode": "s&p", "amount": 0.05, "salt_vs_pepper": 0.5},
    "pepper": {"mode": "pepper", "amount": 0.05},
    "salt": {"mode": "salt", "amount": 0.05},
    "poisson": {"mode": "poisson"},
    "localvar": {"mode": "localvar"},
}
PATCHES = (0, 3, 20, 60, 128, 200, 250, 255)


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def patches() -> np.ndarray:
    """Eight columns of one value each, above a strip that holds every value (256 levels, as a frame has)."""
    columns = np.repeat(np.array(PATCHES, np.uint8), 32)[None].repeat(133, axis=0)
    strip = np.arange(256, dtype=np.uint8)[None].repeat(3, axis=0)
    return np.concatenate([columns, strip])[..., None].repeat(3, axis=2)


def test_every_noise_is_there() -> None:
    assert set(NOISES) == set(THEIRS)


@pytest.mark.parametrize("name", THEIRS)
def test_values_are_spread_as_by_scikit_image(name: str) -> None:
    image = patches()
    before = image.copy()
    ours = NOISES[name](image, generator(1))
    theirs = img_as_ubyte(np.clip(random_noise(image, rng=generator(2), **THEIRS[name]), 0, 1))
    assert (image == before).all()
    assert ours.dtype == np.uint8
    assert ours.shape == image.shape
    for k, value in enumerate(PATCHES):
        a, b = (noisy[:133, 32 * k : 32 * k + 32].ravel() for noisy in (ours, theirs))
        cumulative = [np.cumsum(np.bincount(x, minlength=256)) / x.size for x in (a, b)]
        # Kolmogorov and Smirnov's distance of two equal distributions is above .025 once in 20,000 times
        assert np.abs(cumulative[0] - cumulative[1]).max() < 0.025, value
        assert a.mean() == pytest.approx(b.mean(), abs=1.2)
        assert a.std() == pytest.approx(b.std(), rel=0.06, abs=0.1)


def test_parameters_are_heeded() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    assert (gaussian(grey, generator(0), 0.0025) - 128.0).std() == pytest.approx(255 * 0.05, rel=0.02)
    assert poisson(grey, generator(0), levels=64).std() == pytest.approx(255 * np.sqrt(128 / 255 / 64), rel=0.02)
    amount = NOISES["salt_and_pepper"](grey, generator(0), amount=0.2, ratio=0.25)
    assert (amount == 255).mean() == pytest.approx(0.05, abs=0.005)
    assert (amount == 0).mean() == pytest.approx(0.15, abs=0.005)
    spread = np.linspace(0.0001, 0.01, 200)[:, None, None].repeat(200, 1)
    noisy = localvar(grey, generator(0), spread).astype(float)
    theirs = random_noise(grey, mode="localvar", local_vars=spread.repeat(3, 2), rng=generator(1)) * 255
    for rows in (slice(0, 50), slice(150, 200)):
        assert noisy[rows].std() == pytest.approx(theirs[rows].std(), rel=0.04)


@pytest.mark.parametrize("name", THEIRS)
def test_both_sides_of_a_pair_get_the_same_noise(name: str) -> None:
    original = np.ascontiguousarray(astronaut()[40:200, 150:310])
    fake = original.copy()
    fake[60:100, 60:100] //= 2
    apply = NOISES[name]
    a, b = apply(original, generator(7)), apply(fake, generator(7))
    untouched = np.ones(original.shape, bool)
    untouched[60:100, 60:100] = False
    assert (a[untouched] == b[untouched]).all()
    assert (a[~untouched] != b[~untouched]).any()
    assert (apply(original, generator(7)) == a).all()
    assert (apply(original, generator(8)) != a).any()


@pytest.mark.parametrize("name", THEIRS)
def test_noise_adds_next_to_nothing_to_what_a_codec_did(name: str) -> None:
    """±2 of 255, as between a fake and its original; noise of its own on either side ruins the target."""
    face = np.ascontiguousarray(astronaut()[30:200, 150:300])
    other = np.clip(face + generator(3).integers(-2, 3, face.shape), 0, 255).astype(np.uint8)

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        pair = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (a, b))
        return float(mri_image(*pair).mean())

    apply, clean = NOISES[name], mean(face, other)
    together = mean(apply(face, generator(5)), apply(other, generator(5)))
    apart = mean(apply(face, generator(5)), apply(other, generator(6)))
    assert together < clean
    assert apart > 4 * together


def test_the_field_is_that_of_the_raw_stream() -> None:
    """NumPy guarantees it for all versions; the shards' bytes hang on it."""
    field = uniform_field(generator(0), (101, 33, 3))
    assert hashlib.sha256(field.tobytes()).hexdigest()[:16] == "11731465f6c81887"
    counts = np.bincount(field.ravel() >> 8, minlength=256)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 350  # chi-square, 255 degrees of freedom

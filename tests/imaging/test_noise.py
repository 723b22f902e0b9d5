"""The seven noises against scikit-image, and that both sides of a pair get the same."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from skimage.util import img_as_ubyte, random_noise

from mrigan.imaging.methods import Die
from mrigan.imaging.noise import NOISES, noise_field, uniform_field
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


def noisy(name: str, image: np.ndarray, seed: int, **settings: Any) -> np.ndarray:
    """With the settings of the paper, where none are given."""
    method = NOISES[name]
    result = method.apply(image, noise_field(generator(seed), image), **(settings or method.draw(Die(0, "f"))))
    return np.asarray(result)


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
    ours = noisy(name, image, 1)
    theirs = img_as_ubyte(np.clip(random_noise(image, rng=generator(2), **THEIRS[name]), 0, 1))
    assert (image == before).all()
    assert ours.dtype == np.uint8
    assert ours.shape == image.shape
    for k, value in enumerate(PATCHES):
        a, b = (result[:133, 32 * k : 32 * k + 32].ravel() for result in (ours, theirs))
        cumulative = [np.cumsum(np.bincount(x, minlength=256)) / x.size for x in (a, b)]
        # Kolmogorov and Smirnov's distance of two equal distributions is above .025 once in 20,000 times
        assert np.abs(cumulative[0] - cumulative[1]).max() < 0.025, value
        assert a.mean() == pytest.approx(b.mean(), abs=1.2)
        assert a.std() == pytest.approx(b.std(), rel=0.06, abs=0.1)


def test_parameters_are_heeded() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    assert (noisy("gaussian", grey, 0, variance=0.0025) - 128.0).std() == pytest.approx(255 * 0.05, rel=0.02)
    assert noisy("poisson", grey, 0, levels=64).std() == pytest.approx(255 * np.sqrt(128 / 255 / 64), rel=0.02)
    amount = noisy("salt_and_pepper", grey, 0, amount=0.2, ratio=0.25)
    assert (amount == 255).mean() == pytest.approx(0.05, abs=0.005)
    assert (amount == 0).mean() == pytest.approx(0.15, abs=0.005)


@pytest.mark.parametrize("name", THEIRS)
def test_both_sides_of_a_pair_get_the_same_noise(name: str) -> None:
    original = np.ascontiguousarray(astronaut()[40:200, 150:310])
    fake = original.copy()
    fake[60:100, 60:100] //= 2
    a, b = noisy(name, original, 7), noisy(name, fake, 7)
    untouched = np.ones(original.shape, bool)
    untouched[60:100, 60:100] = False
    assert (a[untouched] == b[untouched]).all()
    assert (a[~untouched] != b[~untouched]).any()
    assert (noisy(name, original, 7) == a).all()
    assert (noisy(name, original, 8) != a).any()


@pytest.mark.parametrize("name", THEIRS)
def test_noise_adds_next_to_nothing_to_what_a_codec_did(name: str) -> None:
    """±2 of 255, as between a fake and its original; noise of its own on either side ruins the target."""
    face = np.ascontiguousarray(astronaut()[30:200, 150:300])
    other = np.clip(face + generator(3).integers(-2, 3, face.shape), 0, 255).astype(np.uint8)

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        pair = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (a, b))
        return float(mri_image(*pair).mean())

    clean = mean(face, other)
    together = mean(noisy(name, face, 5), noisy(name, other, 5))
    apart = mean(noisy(name, face, 5), noisy(name, other, 6))
    assert together < clean
    assert apart > 4 * together


def test_the_field_is_that_of_the_raw_stream() -> None:
    """NumPy guarantees it for all versions; the shards' bytes hang on it."""
    field = uniform_field(generator(0), (101, 33, 3))
    assert hashlib.sha256(field.tobytes()).hexdigest()[:16] == "11731465f6c81887"
    counts = np.bincount(field.ravel() >> 8, minlength=256)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 350  # chi-square, 255 degrees of freedom

"""Ten corruptions: each is what its name says, worse with each step, and the same for one seed."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage import color, data
from skimage.metrics import peak_signal_noise_ratio

from mrigan.imaging.corruptions import CORRUPTIONS, corrupt


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    face = data.astronaut()[:256, 96:352]
    return [np.roll(face, shift, axis=1) for shift in range(0, 12, 3)]


def test_the_names() -> None:
    names = {"h264", "jpeg", "blur", "noise", "resize", "saturation", "contrast", "blocks", "text", "shape"}
    assert set(CORRUPTIONS) == names
    assert CORRUPTIONS["h264"].levels[0] == 23
    assert CORRUPTIONS["h264"].levels[-1] == 40


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_step_is_worse_and_can_be_repeated(name: str, clip: list[np.ndarray]) -> None:
    before = [face.copy() for face in clip]
    psnr = []
    for severity in range(1, 6):
        worse = corrupt(clip, name, severity, np.random.default_rng(0))
        again = corrupt(clip, name, severity, np.random.default_rng(0))
        assert all(np.array_equal(a, b) for a, b in zip(worse, again, strict=True))
        assert all(face.shape == (256, 256, 3) and face.dtype == np.uint8 for face in worse)
        psnr.append(np.mean([peak_signal_noise_ratio(a, b) for a, b in zip(clip, worse, strict=True)]))
    assert all(a > b for a, b in pairwise(psnr)), psnr
    assert psnr[0] < 50
    assert all(np.array_equal(a, b) for a, b in zip(clip, before, strict=True))  # inputs are read-only


def test_they_are_what_they_are_called(clip: list[np.ndarray]) -> None:
    face, rng = clip[0], np.random.default_rng(0)

    def worst(name: str) -> np.ndarray:
        return corrupt([face], name, 5, rng)[0]

    assert np.abs(worst("blur").astype(int) - gaussian_filter(face.astype(float), (4, 4, 0), mode="mirror")).mean() < 1
    assert color.rgb2hsv(worst("saturation"))[..., 1].max() < 0.02
    assert worst("contrast").std() == pytest.approx(0.35 * face.std(), rel=0.02)
    assert worst("contrast").mean() == pytest.approx(face.mean(), abs=0.5)
    assert worst("noise").astype(int).var() > face.astype(int).var()
    buffer = io.BytesIO()
    Image.fromarray(face).save(buffer, "JPEG", quality=10)
    assert np.abs(worst("jpeg").astype(int) - np.asarray(Image.open(buffer)).astype(int)).mean() < 2


def test_what_is_drawn_stays_where_it_is(clip: list[np.ndarray]) -> None:
    for name in ("text", "shape"):
        still = corrupt([clip[0]] * 3, name, 3, np.random.default_rng(1))
        assert all(np.array_equal(still[0], face) for face in still)
        assert 0 < (still[0] != clip[0]).any(-1).mean() < 0.5


def test_odd_and_small_faces() -> None:
    face = data.astronaut()[:65, :65]
    for name in CORRUPTIONS:
        assert corrupt([face], name, 5, np.random.default_rng(0))[0].shape == (65, 65, 3)
    assert corrupt([], "h264", 1, np.random.default_rng(0)) == []

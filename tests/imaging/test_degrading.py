"""What pictures lose: the same for both of a pair, as much as was asked for, by real encoders."""

from __future__ import annotations

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio as psnr

from mrigan.imaging.degrading import Degradation, degrade, h264, jpeg
from mrigan.sample.portraits import load_portraits

RECIPE = Degradation()
NOTHING = Degradation(small_prob=0, jpeg_prob=0, h264_prob=0)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return np.ascontiguousarray(load_portraits()[0].image.astype(np.uint8)[20:220, 120:320])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_both_pictures_of_a_pair_lose_the_same(face: np.ndarray) -> None:
    before, other = face.copy(), cv2.flip(face, 1)
    for seed in range(40):
        one, two = degrade([face, face], 180, rng(seed))
        assert (one == two).all()
        assert one.shape == face.shape
        assert (degrade([other, face], 180, rng(seed))[1] == one).all()  # whatever stands beside it
    assert (face == before).all()
    assert (degrade([face], 180, rng(), NOTHING)[0] == face).all()


def test_each_loss_is_as_frequent_as_asked(face: np.ndarray) -> None:
    one_of_two = [replace(NOTHING, **{name: 0.5}) for name in ("small_prob", "jpeg_prob", "h264_prob")]
    for recipe in one_of_two:
        changed = sum((degrade([face], 300, rng(seed), recipe)[0] != face).any() for seed in range(120))
        assert changed == pytest.approx(60, abs=22), recipe


def test_a_face_has_between_80_and_300_pixels(face: np.ndarray) -> None:
    """A picture of single black and white lines: what is left of them says to which size it went."""
    lines = np.zeros((200, 200, 3), np.uint8)
    lines[:, ::8] = 255
    recipe = replace(NOTHING, small_prob=1.0)
    at_80 = cv2.resize(cv2.resize(lines, (40, 40), interpolation=cv2.INTER_AREA), (200, 200))
    left = [degrade([lines], 400, rng(seed), recipe)[0].std() for seed in range(60)]  # 80 of 400 px: a fifth
    assert min(left) > at_80.std() * 0.85  # lines may fall between the px of a size near it
    assert max(left) < lines.std()
    assert all((degrade([face], 79, rng(seed), recipe)[0] == face).all() for seed in range(10))  # never made larger


def test_jpeg_is_that_of_another_encoder(face: np.ndarray) -> None:
    for quality in (40, 75, 100):
        buffer = io.BytesIO()
        Image.fromarray(face).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
        expected = np.asarray(Image.open(buffer))
        assert np.abs(jpeg(face, quality).astype(int) - expected).mean() < 1.0


def test_h264_is_coarser_at_a_larger_rate_factor(face: np.ndarray) -> None:
    quality = [psnr(face, h264(face, crf, (2, -1))) for crf in (0, 18, 26, 34, 40)]
    assert quality == sorted(quality, reverse=True)
    assert quality[0] > 40
    assert 22 < quality[-1] < 33
    odd = face[:151, :133]
    assert h264(odd, 20, (0, 0)).shape == odd.shape


def test_the_picture_is_the_second_and_lies_where_it_lay(face: np.ndarray) -> None:
    there = h264(face, 1, (3, 3))
    apart = {(dx, dy): np.abs(np.roll(face, (dy, dx), (0, 1)).astype(int) - there)[8:-8, 8:-8].mean()
             for dx in (-3, 0, 3) for dy in (-3, 0, 3)}  # fmt: skip
    assert min(apart, key=lambda shift: apart[shift]) == (0, 0)

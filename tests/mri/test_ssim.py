"""SSIM maps against scikit-image and, where that refuses, against float64 scipy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from mrigan.errors import ConfigError, InputError
from mrigan.mri import mri_image, ssim_index, stored_mri
from mrigan.mri.ssim import _by_opencv, _by_torch
from tests.mri.pictures import face_pair, tensor

WITHIN = 1e-3  # of S


def skimage_ssim(a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:
    return structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True, channel_axis=-1, data_range=255
    )


def scipy_ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Eq. 7 as it is printed, in float64; of pictures of any size."""

    def mean(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, (1.5, 1.5, 0), truncate=3.5, mode="reflect")

    a, b = a.astype(float), b.astype(float)
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    c1, c2 = 6.5025, 58.5225
    return (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))


def both_paths(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """S by OpenCV and by torch, the second of which runs on GPUs: (H, W, 3) each."""
    x, y = tensor(a).float(), tensor(b).float()
    return [(1 - path(x, y))[0].numpy().transpose(1, 2, 0) for path in (_by_opencv, _by_torch)]


@pytest.mark.parametrize(("height", "width"), [(256, 256), (97, 131), (11, 40), (224, 15)])
def test_map_and_index_equal_scikit_image(height: int, width: int) -> None:
    a, b = face_pair(height, width)
    index, expected = skimage_ssim(a, b)
    for found in both_paths(a, b):
        assert np.abs(found - expected).max() < WITHIN
    assert abs(ssim_index(tensor(a), tensor(b)).item() - index) < WITHIN
    mri = mri_image(tensor(a), tensor(b))[0].numpy().transpose(1, 2, 0)
    assert np.abs(mri / 255 - np.clip(1 - expected, 0, 1)).max() < WITHIN


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 7), (5, 3), (10, 10)])
def test_pictures_smaller_than_the_window_follow_scipys_border(height: int, width: int) -> None:
    a, b = np.random.default_rng(1).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    for found in both_paths(a, b):
        assert np.abs(found - scipy_ssim(a, b)).max() < WITHIN
    with pytest.raises(InputError, match="too small for SSIM"):
        ssim_index(tensor(a), tensor(b))


@pytest.mark.parametrize(("level_a", "level_b"), [(0, 0), (0, 255), (255, 254), (255, 255), (128, 3), (17, 18)])
@pytest.mark.parametrize("noise", [0, 1])
def test_flat_pictures_where_float32_is_weakest(level_a: int, level_b: int, noise: int) -> None:
    rng = np.random.default_rng(2)
    a, b = (
        np.clip(level + rng.integers(-noise, noise + 1, (40, 40, 3)), 0, 255).astype(np.uint8)
        for level in (level_a, level_b)
    )
    for found in both_paths(a, b):
        assert np.abs(found - scipy_ssim(a, b)).max() < WITHIN


def test_extremes_of_contrast() -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, -1)
    _, expected = skimage_ssim(board, 255 - board)
    assert expected.min() < -0.9
    for found in both_paths(board, 255 - board):
        assert np.abs(found - expected).max() < WITHIN


def test_negative_ssim_is_clipped_and_does_not_wrap() -> None:
    """(1 - S) * 255 stored as uint8 wrapped to small values exactly where a fake differs most."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, -1)
    mri = mri_image(tensor(board), tensor(255 - board))
    assert (1 - skimage_ssim(board, 255 - board)[1]).mean() * 255 > 400
    assert mri.min() == 255
    assert mri.max() == 255


def test_float_pictures_are_on_the_range_of_255_not_their_own() -> None:
    """SSIM of float pictures in 0...255 with a data range of 1 or 2 calls almost everything different."""
    a, b = face_pair()
    as_bytes, as_floats = mri_image(tensor(a), tensor(b)), mri_image(tensor(a).float(), tensor(b).double())
    torch.testing.assert_close(as_bytes, as_floats)
    wrong = structural_similarity(a / 255.0, b / 255.0, gaussian_weights=True, channel_axis=-1, data_range=255)
    assert abs(ssim_index(tensor(a), tensor(b)).item() - wrong) > 0.1


def test_a_batch_is_its_pictures() -> None:
    pairs = [face_pair(48, 40, seed) for seed in range(3)]
    a, b = (torch.cat([tensor(pair[i]) for pair in pairs]) for i in (0, 1))
    alone = torch.cat([mri_image(a[i : i + 1], b[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(mri_image(a, b), alone, rtol=0, atol=0)
    assert ssim_index(a, b).shape == (3,)
    assert mri_image(a[:0], b[:0]).shape == (0, 3, 48, 40)


def test_inputs_stay_as_they_are_and_may_be_strided() -> None:
    a, b = (tensor(picture).float() for picture in face_pair(40, 60))
    before = a.clone(), b.clone()
    turned = mri_image(a.transpose(2, 3).contiguous(), b.transpose(2, 3).contiguous()).transpose(2, 3)
    torch.testing.assert_close(mri_image(a.transpose(2, 3), b.transpose(2, 3)).transpose(2, 3), turned, rtol=0, atol=0)
    torch.testing.assert_close(mri_image(a.requires_grad_(), b), turned, rtol=0, atol=1e-2)
    assert torch.equal(a.detach(), before[0])
    assert torch.equal(b, before[1])


def test_the_stored_mri_is_the_exact_one_rounded() -> None:
    a, b = face_pair(97, 131)
    exact = np.clip((1 - scipy_ssim(a, b)) * 255, 0, 255)
    pair = torch.cat([tensor(a), tensor(a)]), torch.cat([tensor(b), tensor(a)])
    found, same = stored_mri(*pair).numpy().transpose(0, 2, 3, 1)
    assert found.dtype == np.uint8
    nearly_halfway = np.abs(exact % 1 - 0.5) < 0.01  # float32 tells them no better
    assert nearly_halfway.mean() < 0.03
    np.testing.assert_array_equal(found[~nearly_halfway], np.rint(exact)[~nearly_halfway])
    assert np.abs(found - exact).max() < 0.51
    assert not same.any()
    with pytest.raises(ConfigError, match="shapes"):
        stored_mri(pair[0], pair[1][:1])


def test_a_stored_mri_leaves_opencv_as_it_was() -> None:
    """Its sums are made without what only some processors have, by a setting of the whole process."""
    a, b = face_pair(40, 30)
    for before in (True, False):
        cv2.setUseOptimized(before)
        stored_mri(tensor(a), tensor(b))
        assert cv2.useOptimized() == before
    cv2.setUseOptimized(True)

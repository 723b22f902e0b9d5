"""The other perceptual functions against oracles in NumPy and scipy, pytorch-msssim and torchmetrics."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_msssim
import torch
import torchmetrics.functional.image.dists as tm_dists
import torchmetrics.functional.image.lpips as tm_lpips
import torchvision
from safetensors.torch import save_file
from scipy.ndimage import correlate, gaussian_filter
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as tm_ms_ssim

from mrigan.errors import ConfigError, InputError, ModelError
from mrigan.mri import LEARNED, METRICS, mri_image
from mrigan.mri.dists import _stage_losses
from mrigan.mri.image import _function
from mrigan.mri.lpips import distance_map
from mrigan.mri.ms_ssim import WEIGHTS, _scale_losses
from tests.mri.pictures import face_pair, grow, halve, tensor

PLAIN = ["ssim", "ms-ssim", "l1", "l2", "gmsd"]


@pytest.mark.parametrize("metric", PLAIN)
def test_identical_pictures_are_exactly_black(metric: str) -> None:
    a, _ = face_pair(191, 180)
    for picture in (tensor(a), torch.full((2, 3, 176, 177), 255.0), torch.rand(1, 3, 190, 200) * 255):
        assert mri_image(picture, picture.clone(), metric).abs().max() == 0


@pytest.mark.parametrize("metric", PLAIN)
def test_shape_type_and_range(metric: str) -> None:
    a, b = (torch.randint(0, 256, (2, 3, 177, 180), dtype=torch.uint8) for _ in range(2))
    mri = mri_image(a, b, metric, weights=None)
    assert mri.shape == a.shape
    assert mri.dtype == torch.float32
    assert mri.min() >= 0
    assert 1 < mri.max() <= 255
    torch.testing.assert_close(mri_image(b, a, metric), mri, atol=1e-2, rtol=0)  # all of them are symmetric


def test_l1_and_l2() -> None:
    a, b = face_pair()
    x, y = a.astype(float).transpose(2, 0, 1), b.astype(float).transpose(2, 0, 1)
    np.testing.assert_allclose(mri_image(tensor(a), tensor(b), "l1")[0], abs(x - y), atol=1e-4)
    np.testing.assert_allclose(mri_image(tensor(a), tensor(b), "l2")[0], (x - y) ** 2 / 255, atol=1e-3)
    black, white = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 255.0)
    assert mri_image(black, white, "l2").min() == 255


def ms_ssim_oracle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The map of one channel, in float64."""

    def mean(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, 1.5, truncate=3.5, mode="reflect")

    height, width = a.shape
    product = np.ones((height, width))
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            a, b = halve(a), halve(b)
        ma, mb = mean(a), mean(b)
        va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
        similarity = (2 * cov + 58.5225) / (va + vb + 58.5225)
        if scale == len(WEIGHTS) - 1:
            similarity *= (2 * ma * mb + 6.5025) / (ma**2 + mb**2 + 6.5025)
        product *= np.clip(grow(similarity, height, width), 0, None) ** weight
    return (1 - product) * 255


def test_ms_ssim_map_equals_numpy() -> None:
    a, b = face_pair(181, 200)
    found = mri_image(tensor(a), tensor(b), "ms-ssim")[0].numpy()
    for channel in range(3):
        expected = ms_ssim_oracle(a[..., channel].astype(float), b[..., channel].astype(float))
        assert np.abs(found[channel] - expected).max() < 255e-3


def test_ms_ssim_index_equals_two_libraries() -> None:
    a, b = (tensor(picture).float() for picture in face_pair(192, 208))
    means = [1 - loss[..., 5:-5, 5:-5].mean((2, 3)) for loss in _scale_losses(a, b)]  # without the window's border
    powers = [mean.clamp(min=0) ** weight for weight, mean in zip(WEIGHTS, means, strict=True)]
    found = torch.stack(powers).prod(0).mean().item()
    assert abs(found - pytorch_msssim.ms_ssim(a, b, data_range=255).item()) < 1e-4
    assert abs(found - tm_ms_ssim(a, b, data_range=255.0, kernel_size=11, sigma=1.5).item()) < 1e-2  # pads its borders


def test_gmsd_map_equals_numpy() -> None:
    a, b = face_pair(91, 70)
    found = mri_image(tensor(a), tensor(b), "gmsd")[0].numpy()
    prewitt = np.array([[1, 0, -1]] * 3) / 3
    for channel in range(3):
        magnitudes = []
        for picture in (a, b):
            small = halve(picture[..., channel].astype(float))
            magnitudes.append(np.hypot(*(correlate(small, kernel, mode="reflect") for kernel in (prewitt, prewitt.T))))
        m1, m2 = magnitudes
        similarity = (2 * m1 * m2 + 170) / (m1**2 + m2**2 + 170)
        np.testing.assert_allclose(found[channel], 255 * (1 - grow(similarity, 91, 70)), atol=0.05)


def random_vgg() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])


@pytest.mark.parametrize(("net", "size"), [("alex", 96), ("vgg", 64)])
def test_lpips_equals_torchmetrics(net: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one random backbone for both, and the published linear layers, which torchmetrics ships."""
    torch.manual_seed(1)
    features = random_vgg() if net == "vgg" else torchvision.models.AlexNet().features
    monkeypatch.setattr(tm_lpips, "_get_tv_model_features", lambda *_: features)
    oracle = tm_lpips._LPIPS(net=net, pnet_rand=True, spatial=True)
    state = {f"features.{name}": value for name, value in features.state_dict().items()}
    published = Path(tm_lpips.__file__).parent / "lpips_models" / f"{net}.pth"
    state |= torch.load(published, map_location="cpu", weights_only=True)
    save_file(state, tmp_path / "lpips.safetensors")
    a, b = (tensor(picture) for picture in face_pair(size, size))
    expected = oracle(a / 127.5 - 1, b / 127.5 - 1)
    found = distance_map(a, b, str(tmp_path / "lpips.safetensors"))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    mri = mri_image(a, b, "lpips", weights=str(tmp_path / "lpips.safetensors"))
    torch.testing.assert_close(mri, (255 * expected).clamp(0, 255).expand_as(a), atol=1e-2, rtol=1e-3)
    assert mri_image(a, a, "lpips", weights=str(tmp_path / "lpips.safetensors")).abs().max() == 0


def local_dists(fa: list[np.ndarray], fb: list[np.ndarray], alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """The formula of DISTS as printed, in float64, over local windows of each stage's features (C, h, w)."""

    def mean(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, (0, 1.5, 1.5), truncate=3.5, mode="reflect")

    splits = np.cumsum([len(x) for x in fa])[:-1]
    total = np.zeros(fa[0].shape[1:])
    whole = alpha.sum() + beta.sum()
    for x, y, al, be in zip(fa, fb, np.split(alpha / whole, splits), np.split(beta / whole, splits), strict=True):
        mx, my = mean(x), mean(y)
        vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
        texture = (2 * mx * my + 1e-6) / (mx**2 + my**2 + 1e-6)
        structure = (2 * cov + 1e-6) / (vx + vy + 1e-6)
        loss = np.tensordot(al, 1 - texture, 1) + np.tensordot(be, 1 - structure, 1)
        total += grow(loss, *total.shape)
    return total


def test_dists_equals_torchmetrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = random_vgg()
    monkeypatch.setattr(tm_dists, "vgg16", lambda weights: SimpleNamespace(features=features))
    oracle = tm_dists.DISTSNetwork()
    state = {f"features.{name}": value for name, value in features.state_dict().items()}
    torch.save(state | {"alpha": oracle.alpha.data, "beta": oracle.beta.data}, tmp_path / "dists.pt")
    weights = str(tmp_path / "dists.pt")
    a, b = (torch.cat([tensor(picture), tensor(picture).flip(-1)]) for picture in face_pair(64, 64))
    losses = _stage_losses(a, b, weights, lambda x: x.mean((2, 3), keepdim=True))  # over the whole picture
    index = torch.stack(losses).sum(0).view(-1)
    torch.testing.assert_close(index, oracle(a / 255, b / 255), atol=1e-5, rtol=1e-4)
    fa, fb = ([stage[0].double().numpy() for stage in oracle.forward_once(x[:1] / 255)] for x in (a, b))
    expected = local_dists(fa, fb, *(p.detach().double().numpy().ravel() for p in (oracle.alpha, oracle.beta)))
    found = mri_image(a, b, "dists", weights=weights)
    np.testing.assert_allclose(found[0], np.broadcast_to(255 * expected, (3, 64, 64)), atol=0.05)
    assert found.max() > 5
    assert mri_image(a, a, "dists", weights=weights).abs().max() == 0


@pytest.mark.parametrize("metric", ["lpips", "dists"])
def test_learned_metrics_say_which_weights_they_want(metric: str, tmp_path: Path) -> None:
    a = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ModelError, match=r"needs a weight file(.|\n)*features.N.weight"):
        mri_image(a, a, metric)
    with pytest.raises(ModelError, match="no such weight file"):
        mri_image(a, a, metric, weights=str(tmp_path / "none.safetensors"))
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "some.safetensors")
    with pytest.raises(ModelError, match="lacks"):
        mri_image(a, a, metric, weights=str(tmp_path / "some.safetensors"))
    (tmp_path / "torn.safetensors").write_bytes(b"\x10")
    with pytest.raises(ModelError, match="cannot be read"):
        mri_image(a, a, metric, weights=str(tmp_path / "torn.safetensors"))


def test_wrong_use_is_refused() -> None:
    a = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ConfigError, match=r"unknown perceptual function(.|\n)*ssim, ms-ssim"):
        mri_image(a, a, "sim")
    with pytest.raises(ConfigError, match="same shape"):
        mri_image(a, a[..., :32])
    with pytest.raises(ConfigError, match="ssim has no option weights"):
        mri_image(a, a, "ssim", weights="w.safetensors")
    with pytest.raises(InputError, match="176 or more"):
        mri_image(a, a, "ms_ssim")
    assert set(METRICS) == {*PLAIN, "lpips", "dists"}
    assert {name for name in METRICS if "weights" in inspect.signature(_function(name)).parameters} == LEARNED

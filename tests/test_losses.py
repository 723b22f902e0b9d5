"""The objective functions against pytorch-msssim, torch's own losses, and themselves on a divided batch."""

from __future__ import annotations

import math

import pytest
import torch
from pytorch_msssim import ssim
from torch import Tensor
from torch.nn import functional as F

from mrigan.config import GanLossConfig, to_dict
from mrigan.errors import ConfigError
from mrigan.losses import (
    EPSILON,
    detector_loss,
    discriminator_loss,
    generator_loss,
    perceptual,
    pixel_loss,
    ssim_distance,
)
from mrigan.mri import ssim_index


def pictures(n: int = 4, size: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Predicted (as a leaf that wants a gradient) and true MRIs in [-1, 1]; the last of the true ones is black."""
    g = torch.Generator().manual_seed(seed)
    target = F.interpolate(torch.rand(n, 3, 8, 8, generator=g), size, mode="bilinear") * 2 - 1
    target[-1] = -1
    predicted = (target * 0.8 + 0.1 * torch.randn(target.shape, generator=g)).clamp(-1, 1)
    return predicted.requires_grad_(), target


def msssim(predicted: Tensor, target: Tensor) -> Tensor:
    return ssim(
        (predicted + 1) / 2 * 255, (target + 1) / 2 * 255, data_range=255, size_average=False, nonnegative_ssim=True
    )


# ----------------------------------------------------------------------------------------------------- perceptual


@pytest.mark.parametrize("size", [11, 40, 64])
def test_ssim_and_its_gradient_equal_pytorch_msssim(size: int) -> None:
    predicted, target = pictures(size=size)
    ours, theirs = 1 - ssim_distance(predicted, target), msssim(predicted, target)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)
    a, b = (torch.autograd.grad(value.sum(), predicted)[0] for value in (ours, theirs))
    torch.testing.assert_close(a, b, atol=2e-3 * b.abs().max().item(), rtol=0)


def test_ssim_is_on_0_to_255_as_the_mri_is() -> None:
    """SSIM of pictures in 0...255 under the default data range of 1 sees differences everywhere."""
    target = torch.zeros(2, 3, 32, 32)
    predicted = target + torch.randn(target.shape, generator=torch.Generator().manual_seed(0)) / 127.5  # 1 level of 255
    on_bytes = ssim_index((predicted + 1) * 127.5, (target + 1) * 127.5)  # scikit-image's, by its own test
    torch.testing.assert_close(1 - ssim_distance(predicted, target), on_bytes, atol=1e-3, rtol=0)
    assert on_bytes.min() > 0.97
    assert ssim((predicted + 1) / 2 * 255, (target + 1) / 2 * 255, data_range=1) < 0.1


def test_negative_ssim_counts_as_zero() -> None:
    board = (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).float().expand(1, 3, 32, 32) * 2 - 1
    assert ssim_distance(board, -board).item() == 1
    assert perceptual(board, -board).item() == pytest.approx(1)


@pytest.mark.parametrize("root", ["image", "batch"])
def test_roots(root: str) -> None:
    predicted, target = pictures()
    s = msssim(predicted, target)
    expected = torch.sqrt(1 - s).mean() if root == "image" else torch.sqrt(1 - s.mean())
    found = perceptual(predicted, target, root)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    a, b = (torch.autograd.grad(value, predicted)[0] for value in (found, expected))
    torch.testing.assert_close(a, b, atol=5e-3 * b.abs().max().item(), rtol=0)


@pytest.mark.parametrize("root", ["image", "batch"])
@pytest.mark.parametrize("level", [-1.0, 0.3, 1.0])
def test_the_gradient_is_finite_where_the_pictures_agree(root: str, level: float) -> None:
    """sqrt(1 - SSIM) of a black target predicted black, the commonest case, has a NaN gradient without an epsilon."""
    target = torch.full((2, 3, 32, 32), level)
    predicted = target.clone().requires_grad_()
    naive = torch.sqrt(1 - msssim(predicted, target)).mean()
    assert not torch.autograd.grad(naive, predicted)[0].isfinite().all()
    value = perceptual(predicted, target, root)
    gradient = torch.autograd.grad(value, predicted)[0]
    assert value.item() <= math.sqrt(EPSILON) * 1.01
    assert gradient.abs().max() == 0
    almost = (target + 1e-4 * torch.randn(target.shape)).requires_grad_()
    assert torch.autograd.grad(perceptual(almost, target, root), almost)[0].isfinite().all()


@pytest.mark.parametrize("root", ["image", "batch"])
def test_a_batch_divided_over_ranks_gives_the_whole_batchs_loss_and_gradient(root: str) -> None:
    """Two halves as two ranks: DDP averages their gradients."""
    predicted, target = pictures()
    whole = perceptual(predicted, target, root)
    expected = torch.autograd.grad(whole, predicted)[0]
    halves = [slice(0, 2), slice(2, 4)]
    mean = torch.stack([ssim_distance(predicted[h], target[h]).mean().detach() for h in halves]).mean()
    values = [perceptual(predicted[h], target[h], root, reduce_mean=lambda _: mean) for h in halves]
    torch.testing.assert_close(torch.stack(values).mean(), whole)
    gradient = torch.autograd.grad(torch.stack(values).mean(), predicted)[0]
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-3)
    if root == "batch":  # without the global mean it is another loss
        alone = torch.stack([perceptual(predicted[h], target[h], root) for h in halves]).mean()
        assert (alone - whole).abs() > 1e-3


def test_pictures_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(ConfigError, match="11 px or more"):
        perceptual(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


# ------------------------------------------------------------------------------------------------------------ GAN


@pytest.mark.parametrize("kind", ["least_squares", "log"])
def test_generator_and_discriminator_losses(kind: str) -> None:
    predicted, target = pictures()
    real, fake = torch.randn(2, 4, 1, 2, 2)
    if kind == "least_squares":
        for_g = ((fake - 1) ** 2).mean()
        for_d = (((real - 1) ** 2).mean() + (fake**2).mean()) / 2
    else:  # Eq. 9, whose G part is trained as -log D, as usual
        for_g = -fake.sigmoid().log().mean()
        for_d = -(real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean()) / 2
    torch.testing.assert_close(discriminator_loss(real, fake, kind), for_d)
    loss = generator_loss(fake, predicted, target, adversarial=kind, tau=0.25, weight=10)
    torch.testing.assert_close(loss.adversarial, for_g)
    torch.testing.assert_close(loss.pixel, ((predicted - target) ** 2).mean())
    torch.testing.assert_close(loss.total, for_g + 10 * (0.25 * loss.pixel + 0.75 * loss.perceptual))
    assert loss.total.requires_grad
    assert not loss.perceptual.requires_grad


def test_the_keywords_are_the_configs() -> None:
    predicted, target = pictures()
    loss = generator_loss(torch.zeros(4, 1, 2, 2), predicted, target, **to_dict(GanLossConfig()))
    torch.testing.assert_close(loss.total, 1 + 100 * (0.3 * loss.pixel + 0.7 * loss.perceptual))


def test_l1() -> None:
    predicted, target = pictures()
    torch.testing.assert_close(pixel_loss(predicted, target, "l1"), (predicted - target).abs().mean())


@pytest.mark.parametrize("kwargs", [{"adversarial": "hinge"}, {"pixel": "l3"}, {"per_root": "all"}])
def test_unknown_losses_are_refused(kwargs: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(kwargs))):
        generator_loss(torch.zeros(4), *pictures(), **kwargs)


def test_autocast_does_not_reach_the_losses() -> None:
    predicted, target = pictures()
    logits, labels = torch.randn(4), torch.tensor([0.0, 1, 1, 0])
    expected = (
        generator_loss(logits, predicted, target).total,
        discriminator_loss(logits, logits),
        detector_loss(logits, labels),
    )
    with torch.autocast("cpu", torch.bfloat16):
        found = (
            generator_loss(logits, predicted, target).total,
            discriminator_loss(logits, logits),
            detector_loss(logits, labels),
        )
        half = generator_loss(logits.bfloat16(), predicted.bfloat16(), target.bfloat16()).total
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)
        assert a.dtype == torch.float32
    assert half.dtype == torch.float32


# ------------------------------------------------------------------------------------------------------- detector


def test_detector_loss_averages_the_classes() -> None:
    logits, labels = torch.tensor([2.0, -1, 0.5, 3]), torch.tensor([1.0, 0, 0, 0])
    loss = F.binary_cross_entropy_with_logits(logits, torch.tensor([0.95, 0.05, 0.05, 0.05]), reduction="none")
    torch.testing.assert_close(detector_loss(logits, labels), (loss[0] + loss[1:].mean()) / 2)
    torch.testing.assert_close(detector_loss(logits, labels, balanced=False), loss.mean())
    hard = F.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(detector_loss(logits, labels, smoothing=[0, 1], balanced=False), hard)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_batch_of_one_class(label: float) -> None:
    logits = torch.tensor([0.3, -2.0], requires_grad=True)
    loss = detector_loss(logits, torch.full((2,), label))
    expected = F.binary_cross_entropy_with_logits(logits, torch.full((2,), 0.95 if label else 0.05))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert logits.grad.isfinite().all()  # type: ignore[union-attr]


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("labels", [[1, 1, 1, 0, 0, 1], [1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
def test_ranks_average_to_the_global_batch(balanced: bool, labels: list[float]) -> None:
    """Also where a rank has one class only."""
    logits, y = torch.randn(6, requires_grad=True), torch.tensor(labels, dtype=torch.float32)
    whole = detector_loss(logits, y, balanced=balanced)
    expected = torch.autograd.grad(whole, logits)[0]
    counts = ((1 - y).sum().long(), y.sum().long())
    parts = torch.stack(
        [
            detector_loss(logits[i : i + 2], y[i : i + 2], balanced=balanced, counts=counts, world_size=3)
            for i in (0, 2, 4)
        ]
    )
    torch.testing.assert_close(parts.mean(), whole)
    torch.testing.assert_close(torch.autograd.grad(parts.mean(), logits)[0], expected)

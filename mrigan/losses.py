"""The objective functions, as pure functions in float32 whatever autocast says (MRI-GAN, section 4.5).

None knows of ranks: what has to be summed over a global batch comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mrigan.errors import ConfigError
from mrigan.mri.gaussian import SIZE, ssim_terms

EPSILON = 1e-8  # under the root of Eq. 11, whose slope is infinite at SSIM = 1; the loss there is sqrt(EPSILON) = 1e-4


@dataclass(frozen=True)
class GeneratorLoss:
    """Eq. 12: total = adversarial + weight (tau pixel + (1 - tau) perceptual). `total` alone carries a gradient."""

    total: Tensor
    adversarial: Tensor
    pixel: Tensor
    perceptual: Tensor


def generator_loss(
    fake_logits: Tensor,
    predicted: Tensor,
    target: Tensor,
    *,
    adversarial: str = "least_squares",
    pixel: str = "l2",
    per_root: str = "image",
    tau: float = 0.3,
    weight: float = 100.0,
    reduce_mean: Callable[[Tensor], Tensor] | None = None,
) -> GeneratorLoss:
    """Eq. 12: the loss of G. The keywords are those of `config.GanLossConfig`.

    With `adversarial="log"` G's part of Eq. 9 is the non-saturating form: G minimises -log D(G(x), x), not
    log(1 - D(G(x), x)) as printed. Both have the same fixed point (Goodfellow et al., 2014, section 3); the printed
    form has next to no gradient while D still tells every drawn MRI from a true one.

    Args:
        fake_logits: D(G(x), x), patch logits of any shape.
        predicted, target: G(x) and the true MRI, (N, 3, H, W) in [-1, 1].
        reduce_mean: see `perceptual`.
    """
    with _float32(predicted):
        adv = adversarial_loss(fake_logits, 1.0, adversarial)
        pix = pixel_loss(predicted, target, pixel)
        per = perceptual(predicted, target, per_root, reduce_mean)
        total = adv + weight * (tau * pix + (1 - tau) * per)
    return GeneratorLoss(total, adv.detach(), pix.detach(), per.detach())


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, adversarial: str = "least_squares") -> Tensor:
    """Half of the loss on D(y, x) against 1 plus half of that on D(G(x), x) against 0; G's output must be detached.

    `least_squares`: Eq. 13, the mean squared error; `log`: the cross-entropy of Eq. 9, which for D is as printed.
    """
    with _float32(real_logits):
        return (adversarial_loss(real_logits, 1.0, adversarial) + adversarial_loss(fake_logits, 0.0, adversarial)) / 2


def pixel_loss(predicted: Tensor, target: Tensor, kind: str = "l2") -> Tensor:
    """Eq. 10: the mean squared (`l2`) or absolute (`l1`, the paper's future work) difference on [-1, 1]."""
    if kind not in ("l2", "l1"):
        raise ConfigError(f"no pixel loss {kind!r}", where="loss.pixel", fix="l2 or l1")
    with _float32(predicted):
        return (F.mse_loss if kind == "l2" else F.l1_loss)(predicted.float(), target.float())


def perceptual(
    predicted: Tensor, target: Tensor, per_root: str = "image", reduce_mean: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Eq. 11: sqrt(1 - SSIM) of pictures in [-1, 1].

    Args:
        per_root: `image`: the root per picture, then the mean: exact however the batch is split over ranks.
            `batch`: the mean SSIM of the *global* batch, then the root, as in the authors' run.
        reduce_mean: for `batch` on several ranks, which hold as many pictures each: the mean over the ranks of a
            detached scalar.
    """
    with _float32(predicted):
        distance = ssim_distance(predicted, target)
        if per_root == "image":
            return torch.sqrt(distance + EPSILON).mean()
        if per_root != "batch":
            raise ConfigError(f"no root {per_root!r}", where="loss.per_root", fix="image or batch")
        # With u_r the mean distance on rank r of R, the loss is L = sqrt(u + e), u = mean_r u_r, and
        #   dL/dw = (1 / 2L) mean_r du_r/dw.
        # DDP averages the ranks' gradients, so rank r must give du_r/dw / 2L, with the *global* L as a constant:
        # the root's own backward would divide by the rank's sqrt(u_r + e) instead.
        local = distance.mean()
        mean = local.detach() if reduce_mean is None else reduce_mean(local.detach())
        root = torch.sqrt(mean + EPSILON)
        return root + (local - local.detach()) / (2 * root)


def ssim_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - SSIM of each picture, (N,) in 0...1, of (N, C, H, W) in [-1, 1] mapped to 0...255.

    Window 11, sigma 1.5, no padding, a channel of negative SSIM counts as 0, as in pytorch-msssim; exactly 0 for x = y.

    Raises:
        ConfigError: the pictures are smaller than the window.
    """
    if min(predicted.shape[-2:]) < SIZE:
        raise ConfigError(
            f"SSIM needs pictures of {SIZE} px or more, these are {tuple(predicted.shape)}",
            where="model.size",
            fix="a larger one",
        )
    with _float32(predicted):
        x, y = predicted.float() * 127.5 + 127.5, target.float() * 127.5 + 127.5
        p, q, f, e = ssim_terms(x, y, border=False, centre=0.0)  # most targets are black: nothing to centre
        return (2 * (p * e + q * f) / ((q + p) * (e + f))).mean((2, 3)).clamp(0, 1).mean(1)


def detector_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    smoothing: Sequence[float] = (0.05, 0.95),
    balanced: bool = True,
    counts: tuple[Tensor, Tensor] | None = None,
    world_size: int = 1,
) -> Tensor:
    """Cross-entropy with smoothed labels, the mean over the reals and the mean over the fakes averaged.

    Section 5 has the smoothing; that the classes weigh the same is of the authors' code.

    Args:
        logits, labels: (N,); a label is 1 for fake, 0 for real.
        smoothing: the targets of real and of fake.
        balanced: False = the plain mean.
        counts: (reals, fakes) of the *global* batch; None = of this one.
        world_size: ranks. DDP averages their gradients, so each loss is scaled up by it: the mean over the ranks of
            what this returns is the loss of the global batch, and likewise for the gradient.

    A class that the global batch lacks counts for nothing.
    """
    with _float32(logits):
        fake = labels.float()
        target = smoothing[0] + (smoothing[1] - smoothing[0]) * fake
        loss = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
        n_real, n_fake = (count.float() for count in (counts or ((1 - fake).sum(), fake.sum())))
        if not balanced:
            return world_size * loss.sum() / (n_real + n_fake)
        classes = (n_real > 0).float() + (n_fake > 0).float()
        means = (loss * (1 - fake)).sum() / n_real.clamp(min=1) + (loss * fake).sum() / n_fake.clamp(min=1)
        return world_size * means / classes


def map_loss(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The mean absolute error of a drawn MRI, and its cross-entropy.

    The absolute error alone draws the median, which is black wherever a fake is less likely than not; the cross-entropy
    draws the mean, so that doubt shows as grey.

    Args:
        logits: of the drawn MRI, (N, 3, s, s). target: the true MRI in 0...1, (N, 3, S, S), S >= s; each logit stands
            for the mean of the pixels in its place.
    """
    with _float32(logits):
        x = logits.float()
        y = target.float()
        if y.shape[-2:] != x.shape[-2:]:
            y = F.adaptive_avg_pool2d(y, (x.shape[-2], x.shape[-1]))
        return (x.sigmoid() - y).abs().mean(), F.binary_cross_entropy_with_logits(x, y)


def adversarial_loss(logits: Tensor, target: float, kind: str) -> Tensor:
    """How far logits are from `target`, 1 = true or 0 = drawn, by Eq. 9 (`log`) or its least squares."""
    if kind not in ("least_squares", "log"):
        raise ConfigError(f"no adversarial loss {kind!r}", where="loss.adversarial", fix="least_squares or log")
    loss = F.mse_loss if kind == "least_squares" else F.binary_cross_entropy_with_logits
    return loss(logits.float(), torch.full_like(logits, target, dtype=torch.float32))


def _float32(x: Tensor) -> torch.autocast:
    """Autocast off: half precision cannot hold differences of squares up to 510."""
    return torch.autocast(x.device.type, enabled=False)

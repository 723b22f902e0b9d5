"""Multi-scale SSIM (Wang, Simoncelli, Bovik 2003): contrast and structure at five scales, luminance at the coarsest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mrigan.errors import InputError
from mrigan.mri.gaussian import RADIUS, SIZE, as_float, ssim_terms
from mrigan.mri.ssim import CENTRE

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # the exponents, finest scale first
SMALLEST = SIZE * 2 ** (len(WEIGHTS) - 1)  # px; at the coarsest scale the window still fits


def ms_ssim_mri(original: Tensor, face: Tensor) -> Tensor:
    """(1 - M) * 255, M the product over the scales of each scale's map, grown to full size (bilinear), to its exponent.

    A negative value of a scale counts as 0, so that M is in 0...1.

    Raises:
        InputError: the pictures are smaller than 176 px.
    """
    size = original.shape[-2:]
    product = torch.ones_like(as_float(original))
    for weight, loss in zip(WEIGHTS, _scale_losses(original, face), strict=True):
        grown = F.interpolate(loss, size, mode="bilinear", align_corners=False)
        product *= (1 - grown).clamp(min=0) ** weight
    return (1 - product) * 255


def ms_ssim_index(a: Tensor, b: Tensor) -> Tensor:
    """The MS-SSIM index of each picture, (N,), of (N, C, H, W) in 0...255, each scale's border of 5 px left out."""
    inside = slice(RADIUS, -RADIUS)
    means = [1 - loss[..., inside, inside].mean((2, 3)) for loss in _scale_losses(a, b)]
    powers = [mean.clamp(min=0) ** weight for weight, mean in zip(WEIGHTS, means, strict=True)]
    return torch.stack(powers).prod(0).mean(1)


def _scale_losses(a: Tensor, b: Tensor) -> list[Tensor]:
    """1 - contrast-and-structure at each scale, 1 - SSIM at the last; a scale has half the side of the one before."""
    height, width = a.shape[-2:]
    if min(height, width) < SMALLEST:
        raise InputError(
            f"MS-SSIM of pictures of {width} x {height} px: the coarsest of five scales is too small",
            fix=f"faces.size of {SMALLEST} or more, or mri.metric=ssim",
        )
    a, b = as_float(a), as_float(b)
    losses = []
    for scale in range(len(WEIGHTS)):
        if scale:
            a, b = (F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in (a, b))
        p, q, f, e = ssim_terms(a, b, border=True, centre=CENTRE)
        last = scale == len(WEIGHTS) - 1
        losses.append(2 * (p * e + q * f) / ((q + p) * (e + f)) if last else 2 * f / (e + f))
    return losses

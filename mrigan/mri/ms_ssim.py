"""Multi-scale SSIM (Wang, Simoncelli, Bovik 2003): contrast and structure at five scales, luminance at the coarsest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mrigan.errors import InputError
from mrigan.mri.gaussian import SIZE, as_float, ssim_terms
from mrigan.mri.ssim import CENTRE

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # the exponents, finest scale first
MIN_SIZE = SIZE * 2 ** (len(WEIGHTS) - 1)  # px; the window must fit at the coarsest scale


def ms_ssim_mri(original: Tensor, face: Tensor) -> Tensor:
    """(1 - M) * 255. M is the product of the maps of all scales, each resized (bilinear) and raised to its exponent.

    Negative values of a scale count as 0, so that M is in 0...1.

    Raises:
        InputError: the pictures are smaller than 176 px.
    """
    size = original.shape[-2:]
    product = torch.ones_like(as_float(original))
    for weight, loss in zip(WEIGHTS, _scale_losses(original, face), strict=True):
        resized = F.interpolate(loss, size, mode="bilinear", align_corners=False)
        product *= (1 - resized).clamp(min=0) ** weight
    return (1 - product) * 255


def _scale_losses(a: Tensor, b: Tensor) -> list[Tensor]:
    """1 - contrast-and-structure at each scale, 1 - SSIM at the last; each scale has half the side of the previous."""
    height, width = a.shape[-2:]
    if min(height, width) < MIN_SIZE:
        raise InputError(
            f"pictures of {width} x {height} px are too small for the coarsest of MS-SSIM's five scales",
            fix=f"set faces.size to {MIN_SIZE} or more, or mri.metric=ssim",
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

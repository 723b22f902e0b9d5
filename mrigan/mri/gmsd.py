"""Gradient magnitude similarity (Xue, Zhang, Mou, Bovik 2014), per channel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mrigan.mri.gaussian import as_float, mirror

C = 170.0  # the paper's constant, for pictures in 0...255


def gmsd_mri(original: Tensor, face: Tensor) -> Tensor:
    """(1 - GMS) * 255, with the paper's similarity map GMS, computed at half size and resized back (bilinear)."""
    m1, m2 = gradient_magnitude(original), gradient_magnitude(face)
    loss = (m1 - m2).square() / (m1.square() + m2.square() + C)  # = 1 - (2 m1 m2 + C) / (m1^2 + m2^2 + C)
    return F.interpolate(loss, original.shape[-2:], mode="bilinear", align_corners=False) * 255


def gradient_magnitude(x: Tensor) -> Tensor:
    """Magnitude of the Prewitt gradient of 2 x 2 px means: (N, C, H, W) → (N, C, H / 2, W / 2), rounded up."""
    x = F.avg_pool2d(as_float(x), 2, ceil_mode=True, count_include_pad=False)
    across = torch.tensor([[1.0, 0.0, -1.0]] * 3, device=x.device, dtype=x.dtype) / 3
    kernels = torch.stack([across, across.T])[:, None]
    n, c, height, width = x.shape
    gradient = F.conv2d(mirror(x, 1).reshape(n * c, 1, height + 2, width + 2), kernels)
    return gradient.square().sum(1).sqrt().view(n, c, height, width)

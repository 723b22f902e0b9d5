"""SSIM (Wang et al. 2004; MRI-GAN, Eq. 7 and 8) as scikit-image computes it, several times as fast."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
RADIUS, SIGMA = 5, 1.5  # an 11 x 11 Gaussian window


def ssim_mri(original: Tensor, face: Tensor) -> Tensor:
    """(1 - S) * 255 (Eq. 8); S may be negative, so that this reaches 510 before it is clipped."""
    return dissimilarity(original, face) * 255


def ssim_index(a: Tensor, b: Tensor) -> Tensor:
    """The mean SSIM of each picture, (N,): of (N, 3, H, W), uint8 or float in 0...255; the 5-px border is left out."""
    return 1 - dissimilarity(a.float(), b.float())[..., RADIUS:-RADIUS, RADIUS:-RADIUS].mean((1, 2, 3))


def window(device: torch.device | str = "cpu") -> Tensor:
    """The Gaussian's 11 weights, float32, of sum 1."""
    x = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64)
    w = torch.exp(-(x**2) / (2 * SIGMA**2))
    return (w / w.sum()).to(device, torch.float32)


def dissimilarity(a: Tensor, b: Tensor) -> Tensor:
    """1 - S, (N, C, H, W) float32 in 0...2, for pictures in 0...255."""
    d, s = a - b, a + b - 256
    maps = torch.stack([d, s, d * d, s * s], dim=1)
    n, m, c, h, w = maps.shape
    maps = _filter(maps.view(n, m * c, h, w)).view(n, m, c, h, w)
    mu_d, mu_s, dd, ss = maps.unbind(1)
    f, e = (dd - mu_d * mu_d) / 2, (ss - mu_s * mu_s) / 2 + C2
    mu_s = mu_s + 256
    p, q = mu_d * mu_d / 2, mu_s * mu_s / 2 + C1
    return 2 * (q * f + p * e) / ((q + p) * (e + f))


def _filter(x: Tensor) -> Tensor:
    channels = x.shape[1]
    w = window(x.device).view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    x = x[..., _mirrored(x.shape[-2], x.device), :][..., _mirrored(x.shape[-1], x.device)]
    return F.conv2d(F.conv2d(x, w, groups=channels), w.transpose(2, 3), groups=channels)


def _mirrored(size: int, device: torch.device) -> Tensor:
    """Indices -5...size+4 mirrored into the picture, the edge pixel repeated (d c b a | a b c d | d c b a)."""
    i = torch.arange(-RADIUS, size + RADIUS, device=device) % (2 * size)
    return torch.minimum(i, 2 * size - 1 - i)

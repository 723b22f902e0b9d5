"""The Gaussian window of SSIM, and local means and (co)variances under it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

RADIUS, SIGMA = 5, 1.5  # 11 x 11, as Wang et al. 2004; in scikit-image: sigma 1.5, truncate 3.5
SIZE = 2 * RADIUS + 1
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # SSIM's constants, for pictures in 0...255


def as_float(x: Tensor) -> Tensor:
    """Pictures in the precision of the computation: float64 stays float64, other types become float32."""
    return x if x.dtype == torch.float64 else x.float()


def window(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """The window's 11 weights along one axis; their sum is 1."""
    x = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64)
    weights = torch.exp(-x.square() / (2 * SIGMA**2))
    return (weights / weights.sum()).to(device, dtype)


def blur(x: Tensor) -> Tensor:
    """Weighted means over the windows inside the picture: (N, C, H, W) → (N, C, H - 10, W - 10)."""
    channels = x.shape[1]
    x = x.contiguous()  # for channels last, a GPU would use cuDNN with TF32: too coarse for differences of squares
    weights = window(x.device, x.dtype).expand(channels, 1, 1, SIZE)
    return F.conv2d(F.conv2d(x, weights, groups=channels), weights.transpose(2, 3), groups=channels)


def blur_mirrored(x: Tensor) -> Tensor:
    """`blur` of the picture with mirrored borders, so that the size stays: (N, C, H, W) → (N, C, H, W)."""
    return blur(mirror(x, RADIUS))


def mirror(x: Tensor, pad: int) -> Tensor:
    """Pad a picture of any size by `pad` mirrored px, the edge pixel repeated: d c b a | a b c d | d c b a.

    This is `reflect` in scipy, `symmetric` in NumPy, BORDER_REFLECT in OpenCV. torch's `reflect` does not repeat the
    edge.
    """
    return x[..., _mirrored(x.shape[-2], pad, x.device), :][..., _mirrored(x.shape[-1], pad, x.device)]


def _mirrored(size: int, pad: int, device: torch.device) -> Tensor:
    i = torch.arange(-pad, size + pad, device=device) % (2 * size)
    return torch.minimum(i, 2 * size - 1 - i)


def ssim_terms(a: Tensor, b: Tensor, *, border: bool, centre: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four local terms (p, q, f, e) of SSIM, each a map, of pictures (N, C, H, W), float, in 0...255.

    With d = a - b and s = a + b: p = mu_d^2 / 2, q = mu_s^2 / 2 + C1, f = var_d / 2, e = var_s / 2 + C2. Then
    2 mu_a mu_b + C1 = q - p, mu_a^2 + mu_b^2 + C1 = q + p, 2 cov + C2 = e - f, var_a + var_b + C2 = e + f, and Eq. 7 is

        S = (q - p) (e - f) / ((q + p) (e + f)),    1 - S = 2 (p e + q f) / ((q + p) (e + f)):

    four filtered maps instead of five. There is no difference of nearly equal numbers if a and b are similar, and
    1 - S is exactly 0 for a = b.

    Args:
        border: True = mirrored borders, maps of H x W; False = windows inside, maps of (H - 10) x (W - 10).
        centre: the level that is subtracted before squaring; float32 is more precise for squares of small numbers.
    """
    d, s = a - b, a + b - 2 * centre
    maps = torch.cat([d, s, d * d, s * s], dim=1)
    mu_d, mu_s, dd, ss = (blur_mirrored(maps) if border else blur(maps)).chunk(4, dim=1)
    f, e = (dd - mu_d.square()) / 2, (ss - mu_s.square()) / 2 + C2
    return mu_d.square() / 2, (mu_s + 2 * centre).square() / 2 + C1, f, e

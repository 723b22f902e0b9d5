"""DISTS (Ding, Ma, Wang, Simoncelli 2020): structure and texture similarity of features. Needs a weight file.

DISTS compares means and variances over the whole picture. For a map, `dists_mri` uses the same formula over local
windows: SSIM's 11 x 11 Gaussian, at the resolution of each stage.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from mrigan.errors import InputError
from mrigan.mri.features import VGG16_CHANNELS, Shape, metric_weights, vgg16, vgg16_shapes
from mrigan.mri.gaussian import blur_mirrored

C = 1e-6
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHANNELS = (3, *VGG16_CHANNELS)  # the picture itself is the first stage
MIN_SIZE = 32  # px
HOW = (
    "give mri.weights=FILE.safetensors with features.N.weight and features.N.bias of torchvision's VGG16 (ImageNet) "
    "and alpha and beta of DISTS (weights.pt), merged into one state dict"
)


def dists_mri(original: Tensor, face: Tensor, weights: str | None = None) -> Tensor:
    """Local DISTS * 255, equal in all three channels; stages are resized to full size (bilinear).

    Args:
        weights: a state dict file; see `HOW`.

    Raises:
        ModelError: no weight file, or a missing tensor.
        InputError: the pictures are smaller than 32 px.
    """
    total = torch.zeros_like(original[:, :1], dtype=torch.float32)
    for loss in _stage_losses(original, face, weights, blur_mirrored):
        total += F.interpolate(loss, original.shape[-2:], mode="bilinear", align_corners=False)
    return total.expand(-1, 3, -1, -1) * 255


def _stage_losses(a: Tensor, b: Tensor, weights: str | None, mean: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Each stage's part of DISTS, (N, 1, h, w), with means and variances by `mean`; see `gaussian.ssim_terms`."""
    if min(a.shape[-2:]) < MIN_SIZE:
        what = f"pictures of {a.shape[-1]} x {a.shape[-2]} px are too small for DISTS"
        raise InputError(what, fix=f"give pictures of {MIN_SIZE} px or more")
    tensors = _weights(weights, a.device)
    whole = tensors["alpha"].sum() + tensors["beta"].sum()
    alphas, betas = ((tensors[name] / whole).split(CHANNELS, dim=1) for name in ("alpha", "beta"))
    losses = []
    for x, y, alpha, beta in zip(_stages(a, tensors), _stages(b, tensors), alphas, betas, strict=True):
        d, s = x - y, x + y
        mu_d, mu_s = mean(d), mean(s)
        p, q = mu_d.square() / 2, mu_s.square() / 2
        f = (mean(d * d) - mu_d.square()).clamp(min=0) / 2
        e = (mean(s * s) - mu_s.square()).clamp(min=0) / 2
        texture, structure = 2 * p / (p + q + C), 2 * f / (e + f + C)
        losses.append((alpha * texture + beta * structure).sum(1, keepdim=True))
    return losses


def _stages(picture: Tensor, tensors: dict[str, Tensor]) -> list[Tensor]:
    x = picture.float() / 255
    mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (MEAN, STD))
    return [x, *vgg16((x - mean) / std, tensors, _l2_pool)]


def _l2_pool(x: Tensor) -> Tensor:
    """Root of the Hann-weighted mean square over 3 x 3 px, stride 2."""
    hann = torch.tensor([0.25, 0.5, 0.25], device=x.device)
    kernel = torch.outer(hann, hann).expand(x.shape[1], 1, 3, 3)
    return (F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


@lru_cache(maxsize=2)
def _weights(path: str | None, device: torch.device) -> dict[str, Tensor]:
    each: Shape = (1, sum(CHANNELS), 1, 1)
    return metric_weights("dists", path, {"alpha": each, "beta": each, **vgg16_shapes()}, HOW, device)

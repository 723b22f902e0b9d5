"""LPIPS (Zhang et al. 2018): the distance between the features of two pictures at each pixel. Needs a weight file."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mrigan.errors import InputError, ModelError
from mrigan.mri.features import (
    ALEXNET_CHANNELS,
    VGG16_CHANNELS,
    alexnet,
    alexnet_shapes,
    metric_weights,
    vgg16,
    vgg16_shapes,
)

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures in [-1, 1]
MIN_SIZE = 64  # px
LINEAR = [f"lin{i}.model.1.weight" for i in range(5)]
HOW = (
    "give mri.weights=FILE.safetensors with features.N.weight and features.N.bias of torchvision's VGG16 or AlexNet "
    "(ImageNet) and lin0...lin4.model.1.weight of LPIPS 0.1 (vgg.pth or alex.pth), merged into one state dict"
)


def lpips_mri(original: Tensor, face: Tensor, weights: str | None = None) -> Tensor:
    """The LPIPS distance at each pixel * 255, equal in all three channels; layers are resized to full size (bilinear).

    Args:
        weights: a state dict file of VGG16 or AlexNet (its shapes decide); see `HOW`.

    Raises:
        ModelError: no weight file, or a missing tensor.
        InputError: the pictures are smaller than 64 px.
    """
    return distance_map(original, face, weights).expand(-1, 3, -1, -1) * 255


def distance_map(original: Tensor, face: Tensor, weights: str | None) -> Tensor:
    """The LPIPS distance at each pixel, (N, 1, H, W), of pictures (N, 3, H, W) in 0...255."""
    if min(original.shape[-2:]) < MIN_SIZE:
        what = f"pictures of {original.shape[-1]} x {original.shape[-2]} px are too small for LPIPS"
        raise InputError(what, fix=f"give pictures of {MIN_SIZE} px or more")
    network = _network(weights, original.device)
    total = torch.zeros_like(original[:, :1], dtype=torch.float32)
    for linear, fa, fb in zip(LINEAR, network(original), network(face), strict=True):
        distance = F.conv2d((_unit(fa) - _unit(fb)).square(), network.weights[linear])
        total += F.interpolate(distance, original.shape[-2:], mode="bilinear", align_corners=False)
    return total


class _Network(NamedTuple):
    is_vgg: bool
    weights: dict[str, Tensor]

    def __call__(self, picture: Tensor) -> list[Tensor]:
        shift, scale = (torch.tensor(v, device=picture.device).view(3, 1, 1) for v in (SHIFT, SCALE))
        x = (picture.float() / 127.5 - 1 - shift) / scale
        return list(vgg16(x, self.weights, lambda y: F.max_pool2d(y, 2)) if self.is_vgg else alexnet(x, self.weights))


@lru_cache(maxsize=2)
def _network(path: str | None, device: torch.device) -> _Network:
    linear = metric_weights("lpips", path, dict.fromkeys(LINEAR), HOW, device)
    shapes = [tuple(linear[name].shape) for name in LINEAR]
    is_vgg = shapes == [(1, channels, 1, 1) for channels in VGG16_CHANNELS]
    if not is_vgg and shapes != [(1, channels, 1, 1) for channels in ALEXNET_CHANNELS]:
        what = f"the linear layers have the shapes {shapes}, which fit neither VGG16 nor AlexNet"
        raise ModelError(what, where=path, fix=HOW)
    needed = vgg16_shapes() if is_vgg else alexnet_shapes()
    return _Network(is_vgg, linear | metric_weights("lpips", path, needed, HOW, device))


def _unit(features: Tensor) -> Tensor:
    return features / torch.sqrt(features.square().sum(1, keepdim=True) + 1e-8)

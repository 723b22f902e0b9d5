"""The convolutional features of LPIPS and DISTS: VGG16 and AlexNet with torchvision's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from mrigan.errors import ModelError
from mrigan.mri.weights import read_weights

VGG16_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))  # numbers of torchvision's `features.N`
VGG16_CHANNELS = (64, 128, 256, 512, 512)
ALEXNET_LAYERS = ((0, 4, 2, False), (3, 1, 2, True), (6, 1, 1, True), (8, 1, 1, False), (10, 1, 1, False))
ALEXNET_CHANNELS = (64, 192, 384, 256, 256)


def vgg16(x: Tensor, weights: dict[str, Tensor], pool: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """The outputs of VGG16's five stages (relu1_2, 2_2, 3_3, 4_3, 5_3); `pool` halves the size between stages."""
    for stage, layers in enumerate(VGG16_STAGES):
        if stage:
            x = pool(x)
        for layer in layers:
            x = F.relu(F.conv2d(x, weights[f"features.{layer}.weight"], weights[f"features.{layer}.bias"], padding=1))
        yield x


def alexnet(x: Tensor, weights: dict[str, Tensor]) -> Iterator[Tensor]:
    """The outputs of AlexNet's five convolutions, after their ReLU."""
    for layer, stride, padding, pooled in ALEXNET_LAYERS:
        if pooled:
            x = F.max_pool2d(x, 3, 2)
        weight, bias = weights[f"features.{layer}.weight"], weights[f"features.{layer}.bias"]
        x = F.relu(F.conv2d(x, weight, bias, stride=stride, padding=padding))
        yield x


def metric_weights(
    metric: str, path: str | None, needed: list[str], how: str, device: torch.device
) -> dict[str, Tensor]:
    """The tensors `needed` from the weight file of `metric`, in float32 on `device`.

    Raises:
        ModelError: no file, or a missing tensor; the error says `how` to make the file.
    """
    if path is None:
        raise ModelError(f"{metric} is a learned metric and needs a weight file", where="mri.weights", fix=how)
    weights = read_weights(path)
    missing = [name for name in needed if name not in weights]
    if missing:
        what = f"lacks {len(missing)} of {len(needed)} tensors that {metric} needs, for example {missing[0]}"
        raise ModelError(f"the weight file {what}", where=path, fix=how)
    return {name: weights[name].to(device, torch.float32) for name in needed}

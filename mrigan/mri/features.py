"""The convolutional features of LPIPS and DISTS: VGG16 and AlexNet with torchvision's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mrigan.errors import ModelError
from mrigan.weights import read_weights

VGG16_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))  # numbers of torchvision's `features.N`
VGG16_CHANNELS = (64, 128, 256, 512, 512)
ALEXNET_LAYERS = ((0, 4, 2, False), (3, 1, 2, True), (6, 1, 1, True), (8, 1, 1, False), (10, 1, 1, False))
ALEXNET_CHANNELS, ALEXNET_KERNELS = (64, 192, 384, 256, 256), (11, 5, 3, 3, 3)
Shape = tuple[int, ...]


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


def vgg16_shapes() -> dict[str, Shape]:
    """What `vgg16` needs, by name."""
    layers = [(n, out) for stage, out in zip(VGG16_STAGES, VGG16_CHANNELS, strict=True) for n in stage]
    return _shapes([n for n, _ in layers], [out for _, out in layers], [3] * len(layers))


def alexnet_shapes() -> dict[str, Shape]:
    """What `alexnet` needs, by name."""
    return _shapes([layer[0] for layer in ALEXNET_LAYERS], ALEXNET_CHANNELS, ALEXNET_KERNELS)


def _shapes(numbers: Sequence[int], channels: Sequence[int], kernels: Sequence[int]) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for n, into, out, side in zip(numbers, (3, *channels[:-1]), channels, kernels, strict=True):
        shapes |= {f"features.{n}.weight": (out, into, side, side), f"features.{n}.bias": (out,)}
    return shapes


def metric_weights(
    metric: str, path: str | None, needed: Mapping[str, Shape | None], how: str, device: torch.device
) -> dict[str, Tensor]:
    """The tensors `needed` from the weight file of `metric`, in float32 on `device`.

    Args:
        needed: by name, the shape; None = any.

    Raises:
        ModelError: no file, a missing tensor, or one of another shape; the error says `how` to make the file.
    """
    if path is None:
        raise ModelError(f"{metric} is a learned metric and needs a weight file", where="mri.weights", fix=how)
    weights = read_weights(path)
    missing = [name for name in needed if name not in weights]
    if missing:
        what = f"lacks {len(missing)} of {len(needed)} tensors that {metric} needs, for example {missing[0]}"
        raise ModelError(f"the weight file {what}", where=path, fix=how)
    wrong = [name for name, shape in needed.items() if shape not in (None, weights[name].shape)]
    if wrong:
        what = f"has {wrong[0]} in the shape {tuple(weights[wrong[0]].shape)}, and {metric} needs {needed[wrong[0]]}"
        raise ModelError(f"the weight file {what}", where=path, fix=how)
    return {name: weights[name].to(device, torch.float32) for name in needed}

"""A detector with two heads: beside the logit it draws the MRI of the face, in one pass of one backbone.

MRI-GAN trains a U-Net for the MRI and a second network for the verdict. Here both read the same features, so that the
MRI is an explanation of the verdict and costs a few per cent of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mrigan.models.backbone_weights import RANDOM
from mrigan.models.detector import IMAGENET_MEAN, IMAGENET_STD, Detector

MRI_BIAS = -3.0  # of the last layer: an MRI is black to begin with, as those of real faces are
POOLED = 2  # what the class head reads of an MRI: the mean and the maximum of its logits


class MapDetector(Detector):
    """(N, 3, h, w) float in 0...1, of any size → logits (N,), above 0 = fake, and the MRI's logits (N, 3, s, s).

    The decoder starts from the backbone's last features and doubles their size at each level, where it adds the
    backbone's features of that size. With the four levels of the default, s = size / 4. The class head reads the pooled
    features of the backbone, and the mean and the maximum of the MRI's logits.

    Args:
        decoder: channels of the decoder's levels, the coarsest first.
        backbone, weights, size, hidden, dropout, drop_path, trained, mean, std: see `Detector`.
    """

    def __init__(
        self,
        backbone: str,
        weights: str = RANDOM,
        size: int = 224,
        *,
        decoder: Sequence[int],
        hidden: int = 128,
        dropout: float = 0.5,
        drop_path: float = 0.2,
        trained: bool = False,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(
            backbone,
            weights,
            size,
            hidden=hidden,
            dropout=dropout,
            drop_path=drop_path,
            trained=trained,
            more=POOLED,
            mean=mean,
            std=std,
        )
        self.settings["decoder"] = list(decoder)
        stages = [(stage["num_chs"], stage["reduction"]) for stage in self.backbone.feature_info]
        self.decoder = Decoder(stages, decoder)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """The logits (N,) and the MRI's logits (N, 3, s, s) of `pictures`, (N, 3, h, w) float in 0...1."""
        hidden, mri = self.examine(pictures)
        return self.judge(hidden), mri

    def embed(self, pictures: Tensor) -> Tensor:
        """The last hidden layer (N, hidden) of `pictures`, before dropout and ReLU."""
        return self.examine(pictures)[0]

    def examine(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """The last hidden layer (N, hidden), and the MRI's logits (N, 3, s, s)."""
        last, stages = self.backbone.forward_intermediates(self.prepared(pictures))
        mri = self.decoder(stages)
        pooled = torch.stack([mri.mean((1, 2, 3)), mri.amax((1, 2, 3))], 1)
        features = self.backbone.forward_head(last)
        return self.head[0](torch.cat([features, pooled.to(features.dtype)], 1)), mri

    def mri(self, logits: Tensor) -> Tensor:
        """The MRI (N, 3, size, size) float32 in 0...1 of its logits."""
        size = (self.size, self.size)
        return F.interpolate(logits.float(), size, mode="bilinear", align_corners=False).sigmoid()


class Decoder(nn.Module):
    """Features of a backbone → (N, 3, s, s) logits.

    Args:
        stages: (channels, reduction) of the features, as in timm's `feature_info`; reduction = picture / feature size.
        channels: of each level; the first has the size of the last features, each further one twice the size.
    """

    def __init__(self, stages: Sequence[tuple[int, int]], channels: Sequence[int]) -> None:
        super().__init__()
        reduction = stages[-1][1]
        levels = [Level(stages[-1][0], 0, channels[0])]
        self.skips = [-1]  # per level: which stage is added
        for before, after in pairwise(channels):
            reduction = max(reduction // 2, 1)
            skip = max((i for i, stage in enumerate(stages[:-1]) if stage[1] == reduction), default=-1)
            self.skips.append(skip)
            levels.append(Level(before, stages[skip][0] if skip >= 0 else 0, after))
        self.levels = nn.ModuleList(levels)
        self.last = nn.Conv2d(channels[-1], 3, 1)
        nn.init.constant_(self.last.bias, MRI_BIAS)  # type: ignore[arg-type]

    def forward(self, stages: list[Tensor]) -> Tensor:
        x = self.levels[0](stages[-1], None)
        for level, skip in zip(self.levels[1:], self.skips[1:], strict=True):
            other = stages[skip] if skip >= 0 else None
            size = other.shape[-2:] if other is not None else [2 * side for side in x.shape[-2:]]
            x = level(F.interpolate(x, tuple(size), mode="nearest"), other)
        return self.last(x)


class Level(nn.Module):
    """Both inputs are brought to `channels` and added; then a depthwise 3 x 3 and a 1 x 1 convolution mix them."""

    def __init__(self, inputs: int, skip: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, channels, 1)
        self.skip = nn.Conv2d(skip, channels, 1) if skip else None
        self.norm = nn.BatchNorm2d(channels)
        self.mix = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor, other: Tensor | None) -> Tensor:
        x = self.project(x)
        if self.skip is not None:
            x = x + self.skip(other)
        x = F.relu(self.norm(x))
        return F.relu(x + self.mix(x))


def make_detector(**settings: Any) -> Detector:
    """One network of a `Detector.settings`: with a decoder, a `MapDetector`."""
    settings.pop("networks", None)
    if settings.get("decoder"):
        return MapDetector(**settings)
    settings.pop("decoder", None)
    return Detector(**settings)

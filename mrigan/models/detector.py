"""The detector (MRI-GAN, section 5): a timm backbone and a small head, a face or an MRI → one logit, fake = 1."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mrigan.errors import ConfigError
from mrigan.models.backbone_weights import RANDOM, load_backbone_weights
from mrigan.models.efficientnet import EfficientNet, is_defined

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Detector(nn.Module):
    """(N, 3, h, w) float in 0...1, of any size → (N,) logits; above 0 = more likely fake than real.

    Backbone features, average pool, Linear → hidden, dropout, ReLU, Linear → 1.

    Attributes:
        hidden_size: of what `embed` returns.

    Args:
        backbone: a timm name, with or without its tag.
        weights: "random", a safetensors file of the backbone, or "package:efficientnet-lite0" for those of the package.
        size: px; the input is resized to size x size (bilinear, antialiased).
        hidden, dropout: of the head; without a hidden layer (0) it is dropout and one Linear.
        drop_path: stochastic depth of the backbone, where it has it.
        trained: its weights will be loaded, and it will not be trained: a backbone that `mrigan.models.efficientnet`
            defines is then built without timm, and its weights are not initialized.
        more: numbers beside the backbone's features that the head reads.
        mean, std: of the backbone's input, per channel; 0 and 1 leave it in 0...1.

    Raises:
        ConfigError: timm has no such backbone, or cannot build it with these settings.
        ModelError: the weights are missing or do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: str,
        weights: str = RANDOM,
        size: int = 224,
        *,
        hidden: int = 128,
        dropout: float = 0.5,
        drop_path: float = 0.2,
        trained: bool = False,
        more: int = 0,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "backbone": backbone,
            "size": size,
            "hidden": hidden,
            "dropout": dropout,
            "drop_path": drop_path,
            "mean": list(mean),
            "std": list(std),
        }
        self.size = size
        self.backbone = (
            EfficientNet(backbone) if trained and is_defined(backbone) else create_backbone(backbone, drop_path)
        )
        if weights != RANDOM:
            load_backbone_weights(self.backbone, backbone, weights)
        features = self.backbone.head_hidden_size + more
        self.hidden_size = hidden or features
        self.head = nn.Sequential(
            nn.Linear(features, hidden) if hidden else nn.Identity(),
            nn.Dropout(dropout),
            nn.ReLU() if hidden else nn.Identity(),
            nn.Linear(self.hidden_size, 1),
        )
        for name, values in (("mean", mean), ("std", std)):  # also if the rest is on the meta device
            self.register_buffer(name, torch.tensor(values, device="cpu").view(3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (N,) of `pictures`, (N, 3, h, w) float in 0...1."""
        return self.judge(self.embed(pictures))

    def embed(self, pictures: Tensor) -> Tensor:
        """The last hidden layer (N, hidden_size) of `pictures`, before dropout and ReLU."""
        return self.head[0](self.features(pictures))

    def features(self, pictures: Tensor) -> Tensor:
        """The backbone's pooled features (N, F) of `pictures`."""
        return self.backbone(self.prepared(pictures))

    def prepared(self, pictures: Tensor) -> Tensor:
        """The backbone's input: `pictures` at the network's size, normalized."""
        x = pictures
        if x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return (x - self.mean) / self.std

    def judge(self, hidden: Tensor) -> Tensor:
        """Logits (N,) of the hidden layer."""
        return self.head[1:](hidden).squeeze(1)

    def judge_each(self, hidden: Tensor) -> Tensor:
        """Logits (N, 1): of each network of an ensemble, which this one is not (see `Ensemble`)."""
        return self.judge(hidden)[:, None]


def normalization(kind: str, backbone: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation by `model.normalize`.

    Raises:
        ConfigError: timm does not know those of the backbone.
    """
    if kind == "backbone":
        import timm

        known = timm.get_pretrained_cfg(backbone) if timm.is_model(backbone) else None
        if known is None:
            raise ConfigError(f"timm knows no mean and deviation for {backbone}", where="model.normalize",
                              fix="model.normalize=imagenet, or none")  # fmt: skip
        return known.mean, known.std
    return ((0.0,) * 3, (1.0,) * 3) if kind == "none" else (IMAGENET_MEAN, IMAGENET_STD)


def create_backbone(name: str, drop_path: float = 0.0) -> Any:
    """A timm network with random weights, without its classifier: pictures → (N, head_hidden_size) pooled features.

    Only names in timm's list are allowed. A hub address or a path could download or run other code.
    """
    import timm

    if "/" in name or ":" in name or not timm.is_model(name):
        close = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=1)
        raise ConfigError(
            f"timm has no backbone {name}",
            where="model.backbone",
            fix=f"did you mean {close[0]}?" if close else "see timm.list_models()",
        )
    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        return timm.create_model(name, pretrained=False, num_classes=0, global_pool="avg", **options)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            f"timm cannot build {name}: {error}",
            where="model.backbone",
            fix="use another backbone or tag, or model.drop_path=0",
        ) from None

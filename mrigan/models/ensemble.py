"""Several networks of one kind that judge together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mrigan.models.detector import Detector


class Ensemble(nn.Module):
    """A `Detector` of K networks with the same settings: the probability of a face is the mean of theirs.

    Attributes:
        settings: those of each network, with their number. size: as in `Detector`.
        hidden_size: of all hidden layers together.
    """

    def __init__(self, networks: Sequence[Detector]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        first = networks[0]
        self.settings = first.settings | {"networks": len(networks)}
        self.size = first.size
        self.hidden_size = len(networks) * first.hidden_size
        self.backbone = first.backbone

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (N,) of `pictures`, (N, 3, h, w) float in 0...1."""
        return self.judge(self.embed(pictures))

    def embed(self, pictures: Tensor) -> Tensor:
        """The hidden layers (N, hidden_size) of all networks, one after another."""
        return torch.cat([network.embed(pictures) for network in self._networks], 1)

    def features(self, pictures: Tensor) -> Tensor:
        """The pooled features (N, K F) of all backbones, one after another."""
        return torch.cat([network.features(pictures) for network in self._networks], 1)

    def judge(self, hidden: Tensor) -> Tensor:
        """Logits (N,) of the mean probability."""
        return mean_logit(self.judge_each(hidden))

    def judge_each(self, hidden: Tensor) -> Tensor:
        """Logits (N, K) of each network."""
        parts = hidden.chunk(len(self._networks), 1)
        return torch.stack([net.judge(part) for net, part in zip(self._networks, parts, strict=True)], 1)

    @property
    def _networks(self) -> list[Detector]:
        return cast(list[Detector], list(self.networks))


def mean_logit(logits: Tensor) -> Tensor:
    """(N,) the logit of the mean over K of the probabilities of (N, K) logits."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    fake, real = (F.logsigmoid(x.double()).logsumexp(1) for x in (logits, -logits))
    return (fake - real).to(logits.dtype)

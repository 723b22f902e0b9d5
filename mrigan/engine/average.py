"""The exponential moving average of a network's weights: smoother than any one step's."""

from __future__ import annotations

import copy

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mrigan.engine.interface import Tensors

WARM_UP = (
    0.05  # of the images seen: the half-life in the beginning, so that the first, random weights are soon forgotten
)


class Average:
    """The average of `network`, as a network of its own, in eval mode and without gradients.

    Args:
        network: an engine's module, with its whole weights (not under ZeRO 3); read at every update.
        half_life: images after which a weight counts half; at first a twentieth of the images seen so far, as in
            StyleGAN2-ADA.
        batch_size: images a step, over all ranks.
    """

    def __init__(self, network: nn.Module, half_life: float, batch_size: int) -> None:
        self.network, self.half_life, self.batch_size = network, half_life, batch_size
        self.module = copy.deepcopy(network).requires_grad_(False).eval()

    def update(self, step: int) -> None:
        """`step` optimizer steps are done."""
        half_life = min(self.half_life, WARM_UP * step * self.batch_size)
        decay = 0.5 ** (self.batch_size / half_life)
        get_ema_multi_avg_fn(decay)(list(self.module.parameters()), list(self.network.parameters()), None)

    def whole(self) -> nn.Module:
        """The averaged network, for evaluation, as an engine gives its own."""
        return self.module

    def state(self) -> Tensors:
        """The averaged weights."""
        return self.module.state_dict()

    def load(self, weights: Tensors) -> None:
        """Continue from `state`."""
        self.module.load_state_dict(dict(weights))

"""The exponential moving average of a network's weights."""

from __future__ import annotations

import copy

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mrigan.engine.interface import Tensors

# The half-life at the beginning, as a share of the images seen, so that the random first weights soon lose influence.
WARM_UP_SHARE = 0.05


class Average:
    """The average of `network`, as a separate network in eval mode, without gradients. Statistics of BatchNorm are
    averaged, too.

    Args:
        network: an engine's module with all of its weights (not under ZeRO 3); read at every update.
        half_life: images after which the influence of a weight is halved; at the beginning a twentieth of the images
            seen so far, as in StyleGAN2-ADA.
        batch_size: images per step, over all ranks.
    """

    def __init__(self, network: nn.Module, half_life: float, batch_size: int) -> None:
        self.network, self.half_life, self.batch_size = network, half_life, batch_size
        self.module = copy.deepcopy(network).requires_grad_(False).eval()

    def update(self, step: int) -> None:
        """Add the network's weights after optimizer step `step`."""
        half_life = min(self.half_life, WARM_UP_SHARE * step * self.batch_size)
        decay = 0.5 ** (self.batch_size / half_life)
        average = get_ema_multi_avg_fn(decay)
        average(list(self.module.parameters()), list(self.network.parameters()), None)
        pairs = list(zip(self.module.buffers(), self.network.buffers(), strict=True))
        if averaged := [pair for pair in pairs if pair[0].is_floating_point()]:
            average([own for own, _ in averaged], [new for _, new in averaged], None)
        for own, new in pairs:
            if not own.is_floating_point():
                own.copy_(new)

    def unsharded(self) -> nn.Module:
        """The averaged network, for evaluation; see `Engine.unsharded`."""
        return self.module

    def state_dict(self) -> Tensors:
        """The averaged weights."""
        return self.module.state_dict()

    def load_state_dict(self, weights: Tensors) -> None:
        """Continue from a `state_dict`."""
        self.module.load_state_dict(dict(weights))

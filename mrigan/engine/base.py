"""The common part of all engines: the trained parameters, freezing them, and the running statistics of BatchNorm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from mrigan.config import EngineConfig, OptimConfig
from mrigan.engine.distributed import World
from mrigan.engine.optimizer import GuardedOptimizer
from mrigan.engine.precision import Precision


class NetworkEngine:
    """A network on its device. `mrigan.engine.interface.Engine` lists what a subclass has to add.

    Args:
        network: is moved to the rank's device. Parameters that require no gradient now are never trained.
        optim: the settings of the optimizer, for the subclass.
        settings: of the engine. `channels_last` keeps convolution weights in NHWC order; `compile` compiles the network
            in place, so that the names of its parameters do not change.
        world: this process and the other ranks.
        precision: number format and loss scale, shared by all engines of a training.

    Attributes:
        trained: the trained parameters by name.
        optimizer: set by the subclass.
    """

    optimizer: GuardedOptimizer

    def __init__(
        self, network: nn.Module, optim: OptimConfig, settings: EngineConfig, world: World, precision: Precision
    ) -> None:
        layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.module: nn.Module = network.to(world.device, memory_format=layout)  # type: ignore[call-overload]
        if settings.compile:
            self.module.compile()
        self.world, self.precision = world, precision
        self.trained = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        stored = self.module.state_dict(keep_vars=True)
        self._statistics = [b for name, b in self.module.named_buffers() if name in stored and b.is_floating_point()]
        self._last_statistics = torch.empty(0)  # after the last step that was not skipped
        self.keep_statistics()

    @classmethod
    def check(cls, settings: EngineConfig, world: World) -> None:
        """Refuse settings that this engine cannot work with, before any file is written.

        Raises:
            ConfigError: says which, and what to do.
        """

    @property
    def grad_norm(self) -> torch.Tensor:
        """See `Engine.grad_norm`."""
        return self.optimizer.grad_norm

    def set_learning_rate(self, lr: float) -> None:
        """See `Engine.set_learning_rate`."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """See `Engine.frozen`."""
        for parameter in self.trained.values():
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self.trained.values():
                parameter.requires_grad_(True)

    def settle_statistics(self, skipped: torch.Tensor) -> None:
        """Average BatchNorm's running statistics over the ranks; call it after each optimizer step.

        If the step was skipped, the statistics return to their earlier values, because its forward pass put values that
        are not finite into them. So all ranks have the same statistics, in evaluations and in checkpoints.

        Args:
            skipped: 0 or 1, on the device.
        """
        if self._statistics:
            flat = self.world.mean(torch.cat([buffer.flatten() for buffer in self._statistics]))
            self._last_statistics = torch.where(skipped > 0, self._last_statistics, flat)
            parts = self._last_statistics.split([b.numel() for b in self._statistics])
            views = [part.view_as(buffer) for part, buffer in zip(parts, self._statistics, strict=True)]
            torch._foreach_copy_(self._statistics, views)

    def keep_statistics(self) -> None:
        """Remember the running statistics for a later step that is skipped; call it after they were loaded."""
        if self._statistics:
            self._last_statistics = torch.cat([buffer.flatten() for buffer in self._statistics])

"""The engine for one process; other engines that hold a whole network on each rank extend it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from mrigan.config import EngineConfig, OptimConfig
from mrigan.engine.base import NetworkEngine
from mrigan.engine.distributed import World
from mrigan.engine.interface import Tensors
from mrigan.engine.optimizer import make_optimizer
from mrigan.engine.precision import Precision
from mrigan.errors import CheckpointError


class SingleEngine(NetworkEngine):
    """A whole network and its whole optimizer. Gradients are not reduced: a subclass for several ranks adds that.

    Args:
        network, optim, settings, world, precision: see `NetworkEngine`.
    """

    def __init__(
        self, network: nn.Module, optim: OptimConfig, settings: EngineConfig, world: World, precision: Precision
    ) -> None:
        super().__init__(network, optim, settings, world, precision)
        self.optimizer = make_optimizer(self.trained.values(), optim, precision)

    def __call__(self, *inputs: Any) -> Any:
        return self.module(*inputs)

    def backward(self, loss: torch.Tensor) -> None:
        self.precision.scaled(loss).backward()

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.settle_statistics(self.optimizer.skipped)

    def no_sync(self) -> AbstractContextManager[None]:
        return nullcontext()

    def unsharded(self) -> nn.Module:
        return self.module

    def state_dict(self) -> tuple[Tensors, Tensors]:
        optimizer = {
            f"{name}.{key}": value
            for name, parameter in self.trained.items()
            for key, value in self.optimizer.state[parameter].items()
        }
        return self.module.state_dict(), optimizer

    def load_state_dict(self, weights: Tensors, optimizer: Tensors) -> None:
        """See `Engine.load_state_dict`.

        Raises:
            CheckpointError: the tensors do not belong to this network.
        """
        try:
            self.module.load_state_dict(dict(weights))
            self.keep_statistics()
            for name, parameter in self.trained.items():
                # In the parameter's memory layout, whatever the file's: the fused kernel walks both as flat memory.
                state = {
                    key: torch.empty_like(parameter).copy_(optimizer[f"{name}.{key}"]) for key in self.optimizer.moments
                }
                if self.optimizer.counts_steps:
                    state["step"] = optimizer[f"{name}.step"].to(parameter.device, torch.float32)
                self.optimizer.state[parameter] = state
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint's tensors do not fit {type(self.module).__name__}: {error}"
            ) from None

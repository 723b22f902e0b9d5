"""What every engine does alike: know its trained parameters, freeze them, keep running statistics together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from mrigan.engine.distributed import World
from mrigan.engine.optimizer import Guarded
from mrigan.engine.precision import Precision


class NetworkEngine:
    """The common part of the engines.

    Args:
        network: on the rank's device afterwards; parameters that require no gradient now never will.
        world: this process among its peers.
        precision: number format and loss scale.
        channels_last: keep convolution weights in NHWC order.
        compile: run the network through torch.compile, in place: its names and its state stay as they are.
    """

    _optimizer: Guarded

    def __init__(
        self,
        network: nn.Module,
        world: World,
        precision: Precision | None = None,
        *,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.module: nn.Module = network.to(world.device, memory_format=layout)  # type: ignore[call-overload]
        if compile:
            self.module.compile()
        self._world = world
        self._precision = precision or Precision("fp32", world.device)
        self._trained = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        kept = self.module.state_dict(keep_vars=True)
        self._statistics = [b for name, b in self.module.named_buffers() if name in kept and b.is_floating_point()]
        self._sound = torch.empty(0)  # the statistics after the last step that was not left out
        self._keep_statistics()

    @property
    def grad_norm(self) -> torch.Tensor:
        """See `Engine.grad_norm`."""
        return self._optimizer.grad_norm

    def set_learning_rate(self, lr: float) -> None:
        """See `Engine.set_learning_rate`."""
        for group in self._optimizer.param_groups:
            group["lr"] = lr

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """See `Engine.frozen`."""
        for parameter in self._trained.values():
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self._trained.values():
                parameter.requires_grad_(True)

    def _settle_statistics(self, skipped: torch.Tensor) -> None:
        """Average the running statistics of BatchNorm, as each rank saw its part of the batch; where the step was left
        out, those before it come back: the forward pass over what was not finite is in them.

        So they are the same on all ranks, in evaluation and in checkpoints, and a resumed run keeps to the undisturbed.
        """
        if self._statistics:
            flat = self._world.mean(torch.cat([buffer.flatten() for buffer in self._statistics]))
            self._sound = torch.where(skipped > 0, self._sound, flat)
            parts = self._sound.split([b.numel() for b in self._statistics])
            views = [part.view_as(buffer) for part, buffer in zip(parts, self._statistics, strict=True)]
            torch._foreach_copy_(self._statistics, views)

    def _keep_statistics(self) -> None:
        """They were set: a step that is left out will bring these back."""
        if self._statistics:
            self._sound = torch.cat([buffer.flatten() for buffer in self._statistics])

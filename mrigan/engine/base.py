"""What every engine does alike: know its trained parameters, freeze them, keep running statistics together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from mrigan.engine.distributed import World
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
        self._averaged = [buffer for name, buffer in self.module.named_buffers() if name in kept and
                          buffer.is_floating_point() and world.size > 1]  # fmt: skip

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

    def _average_buffers(self) -> None:
        """Average the running statistics of BatchNorm: each rank saw its part of the batch.

        So they are the same on all ranks, in evaluation and in checkpoints, and a resumed run keeps to the undisturbed.
        """
        if self._averaged:
            flat = self._world.mean(torch.cat([buffer.flatten() for buffer in self._averaged]))
            for buffer, part in zip(self._averaged, flat.split([b.numel() for b in self._averaged]), strict=True):
                buffer.copy_(part.view_as(buffer))

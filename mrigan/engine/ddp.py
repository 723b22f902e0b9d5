"""The engine on PyTorch's DistributedDataParallel."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mrigan.config import EngineConfig, OptimConfig
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.engine.single import SingleEngine

# The argument is called `broadcast_buffers` before torch 2.13.
_ARGUMENTS = inspect.signature(DistributedDataParallel).parameters
_NO_BUFFERS: dict[str, Any] = {
    next(name for name in ("forward_sync_buffers", "broadcast_buffers") if name in _ARGUMENTS): False
}


class DdpEngine(SingleEngine):
    """A network under DDP; in a single process it is a `SingleEngine`.

    DDP does not broadcast buffers (`step` settles them). Gradients are views of its buckets, which saves a copy (218 MB
    for G). The graph is static, unless a step has several backward passes.

    Args:
        network, optim, settings, world, precision: see `NetworkEngine`. `settings.bucket_mib` is the size of a bucket.
    """

    def __init__(
        self, network: nn.Module, optim: OptimConfig, settings: EngineConfig, world: World, precision: Precision
    ) -> None:
        super().__init__(network, optim, settings, world, precision)
        self._ddp: DistributedDataParallel | None = None
        if world.size > 1:
            self._ddp = DistributedDataParallel(
                self.module,
                device_ids=[world.device] if world.device.type == "cuda" else None,
                bucket_cap_mb=settings.bucket_mib,  # despite its name, in MiB
                gradient_as_bucket_view=True,
                static_graph=settings.accumulate == 1,  # in its first step a static graph cannot skip the reduction
                **_NO_BUFFERS,
            )

    def __call__(self, *inputs: Any) -> Any:
        return self.module(*inputs) if self._ddp is None else self._ddp(*inputs)

    def no_sync(self) -> AbstractContextManager[None]:
        return nullcontext() if self._ddp is None else self._ddp.no_sync()

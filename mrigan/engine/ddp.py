"""The engine for one process and for PyTorch's DistributedDataParallel."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mrigan.config import OptimConfig
from mrigan.engine.base import NetworkEngine
from mrigan.engine.distributed import World
from mrigan.engine.interface import Tensors
from mrigan.engine.optimizer import make_optimizer
from mrigan.engine.precision import Precision
from mrigan.errors import CheckpointError

# `broadcast_buffers` until torch 2.13.
_KNOWN = inspect.signature(DistributedDataParallel).parameters
_NO_BUFFERS: dict[str, Any] = {next(n for n in ("forward_sync_buffers", "broadcast_buffers") if n in _KNOWN): False}


class DdpEngine(NetworkEngine):
    """A network under DDP, or bare where the world is one process.

    DDP gets no buffers to broadcast (`step` settles them), makes the gradients views of its buckets (no copy, 218 MB
    less for G), and may rely on the graph being the same in every step, unless a step has several backward passes.

    Args:
        network, world, precision, channels_last, compile: see `NetworkEngine`; the network is compiled before the wrap.
        optim: the optimizer's settings.
        bucket_mib: MiB of gradients that are reduced at a time, see `engine.bucket_mib`.
        accumulates: several backward passes a step, all but the last with `reduces(False)`.
    """

    def __init__(
        self,
        network: nn.Module,
        optim: OptimConfig,
        world: World,
        precision: Precision | None = None,
        *,
        channels_last: bool = False,
        compile: bool = False,
        accumulates: bool = False,
        bucket_mib: float = 25.0,
    ) -> None:
        super().__init__(network, world, precision, channels_last=channels_last, compile=compile)
        self._call: nn.Module = self.module
        if world.size > 1:
            devices = [world.device] if world.device.type == "cuda" else None
            self._call = DistributedDataParallel(
                self.module,
                device_ids=devices,
                bucket_cap_mb=bucket_mib,  # MiB, whatever its name says
                gradient_as_bucket_view=True,
                static_graph=not accumulates,  # its first step cannot go without a reduction
                **_NO_BUFFERS,
            )
        self._optimizer = make_optimizer(self._trained.values(), optim, self._precision)

    def __call__(self, *inputs: Any) -> Any:
        return self._call(*inputs)

    def backward(self, loss: torch.Tensor) -> None:
        self._precision.scaled(loss).backward()

    def step(self) -> None:
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._settle_statistics(self._optimizer.skipped)

    def reduces(self, wanted: bool) -> AbstractContextManager[None]:
        call = self._call
        return call.no_sync() if isinstance(call, DistributedDataParallel) and not wanted else nullcontext()

    def whole(self) -> nn.Module:
        return self.module

    def state(self) -> tuple[Tensors, Tensors]:
        optimizer = {
            f"{name}.{key}": value
            for name, parameter in self._trained.items()
            for key, value in self._optimizer.state[parameter].items()
        }
        return self.module.state_dict(), optimizer

    def load(self, weights: Tensors, optimizer: Tensors) -> None:
        """See `Engine.load`.

        Raises:
            CheckpointError: the tensors are not those of this network.
        """
        try:
            self.module.load_state_dict(dict(weights))
            self._keep_statistics()
            for name, parameter in self._trained.items():
                # The layout of the parameter, whatever the file's: the fused kernel walks both as flat memory.
                state = {
                    key: torch.empty_like(parameter).copy_(optimizer[f"{name}.{key}"])
                    for key in self._optimizer.moments
                }
                if self._optimizer.counts:
                    state["step"] = optimizer[f"{name}.step"].to(parameter.device, torch.float32)
                self._optimizer.state[parameter] = state
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint's tensors do not fit {type(self.module).__name__}: {error}"
            ) from None

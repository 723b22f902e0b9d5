"""The engine for one process and for PyTorch's DistributedDataParallel."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mrigan.config import OptimConfig
from mrigan.engine.distributed import World
from mrigan.engine.interface import Tensors
from mrigan.errors import CheckpointError

# `broadcast_buffers` until torch 2.13.
_KNOWN = inspect.signature(DistributedDataParallel).parameters
_NO_BUFFERS: dict[str, Any] = {next(n for n in ("forward_sync_buffers", "broadcast_buffers") if n in _KNOWN): False}


class DdpEngine:
    """A network under DDP, or bare where the world is one process; trained by Adam.

    Adam is the fused one: one pass over memory, a third of the time of the plain one on a CPU, and as deterministic.
    DDP gets no buffers to broadcast (`step` averages them), makes the gradients views of its buckets (no copy, 218 MB
    less for G), and may rely on the graph being the same in every step.

    Args:
        network: moved to the rank's device; parameters that require no gradient now never will.
        optim: Adam's settings.
        world: this process among its peers.
        channels_last: keep convolution weights in NHWC order.
    """

    def __init__(self, network: nn.Module, optim: OptimConfig, world: World, channels_last: bool = False) -> None:
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self.module: nn.Module = network.to(world.device, memory_format=self._format)  # type: ignore[call-overload]
        self._call: nn.Module = self.module
        if world.size > 1:
            devices = [world.device] if world.device.type == "cuda" else None
            self._call = DistributedDataParallel(
                self.module, device_ids=devices, gradient_as_bucket_view=True, static_graph=True, **_NO_BUFFERS
            )
        self._world = world
        self._trained = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        kept = self.module.state_dict(keep_vars=True)
        self._averaged = [buffer for name, buffer in self.module.named_buffers() if name in kept and
                          buffer.is_floating_point() and world.size > 1]  # fmt: skip
        self._optimizer = torch.optim.Adam(
            self._trained.values(),
            optim.lr,
            (optim.betas[0], optim.betas[1]),
            weight_decay=optim.weight_decay,
            fused=True,
        )

    def __call__(self, *inputs: Any) -> Any:
        return self._call(*inputs)

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def step(self) -> None:
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        if self._averaged:
            # Running statistics of BatchNorm: each rank saw its part of the batch. Averaged every step they are the
            # same on all ranks, in evaluation and in checkpoints, and a resumed run keeps to the undisturbed one.
            flat = self._world.mean(torch.cat([buffer.flatten() for buffer in self._averaged]))
            for buffer, part in zip(self._averaged, flat.split([b.numel() for b in self._averaged]), strict=True):
                buffer.copy_(part.view_as(buffer))

    def no_sync(self) -> Any:
        return self._call.no_sync() if isinstance(self._call, DistributedDataParallel) else nullcontext()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        for parameter in self._trained.values():
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self._trained.values():
                parameter.requires_grad_(True)

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
            for name, parameter in self._trained.items():
                # The layout of the parameter, whatever the file's: the fused kernel walks both as flat memory.
                moments = {
                    key: torch.empty_like(parameter).copy_(optimizer[f"{name}.{key}"])
                    for key in ("exp_avg", "exp_avg_sq")
                }
                steps = optimizer[f"{name}.step"].to(parameter.device, torch.float32)
                self._optimizer.state[parameter] = {"step": steps, **moments}
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint's tensors do not fit {type(self.module).__name__}: {error}"
            ) from None

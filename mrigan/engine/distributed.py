"""The ranks of a training and their messages, by gloo on CPUs and NCCL on GPUs; the environment says who they are.

Messages of the Python code (stop flags, decisions about files, scores) use a gloo group of their own and stay off the
device, so that they do not wait for kernels, nor the host for them.
"""

from __future__ import annotations

import json
import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from mrigan.errors import ConfigError, MriganError

T = TypeVar("T")

RELEASE_TIMEOUT_S = 10.0  # far longer than freeing a few bytes takes
TIMEOUT = timedelta(minutes=30)  # a first step may be slow; torchrun notices a dead rank at once


class PeerError(MriganError):
    """Rank 0 failed; the other ranks stop with its message."""


@dataclass(frozen=True)
class World:
    """This process, and its place among the ranks."""

    rank: int
    size: int
    local_rank: int
    device: torch.device
    control: Any = None  # gloo group for messages on the CPU; None in a single process
    _messages: list[weakref.ref[torch.Tensor]] = field(default_factory=list, repr=False, compare=False)

    @property
    def main(self) -> bool:
        """Whether this is global rank 0, which writes files and uses MLflow."""
        return self.rank == 0

    def any(self, flag: bool | int) -> int:
        """The largest `flag` of all ranks, on the CPU."""
        if self.control is None:
            return int(flag)
        value = self._remembered(torch.tensor(int(flag)))
        dist.all_reduce(value, dist.ReduceOp.MAX, group=self.control)
        return int(value)

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over ranks, on the tensor's own device; without gradient."""
        if self.size > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """The mean over ranks; without gradient."""
        return self.sum(tensor) / self.size

    def gather(self, values: torch.Tensor) -> list[torch.Tensor]:
        """The one-dimensional CPU tensors of all ranks, in rank order; lengths may differ."""
        if self.control is None:
            return [values]
        lengths = [self._remembered(torch.zeros((), dtype=torch.int64)) for _ in range(self.size)]
        dist.all_gather(lengths, self._remembered(torch.tensor(len(values))), group=self.control)
        padded = self._remembered(torch.zeros(int(max(lengths)), dtype=values.dtype))
        padded[: len(values)] = values
        parts = [self._remembered(torch.empty_like(padded)) for _ in range(self.size)]
        dist.all_gather(parts, padded, group=self.control)
        return [
            part[: int(n)].clone() for part, n in zip(parts, lengths, strict=True)
        ]  # a copy, see `_wait_for_release`

    def broadcast(self, data: Any) -> Any:
        """Rank 0's JSON `data`, on every rank."""
        if self.control is None:
            return data
        body = bytearray(json.dumps(data).encode()) if self.main else bytearray()
        size = self._remembered(torch.tensor(len(body)))
        dist.broadcast(size, 0, group=self.control)
        message = self._remembered(
            torch.frombuffer(body, dtype=torch.uint8) if self.main else torch.empty(int(size), dtype=torch.uint8)
        )
        dist.broadcast(message, 0, group=self.control)
        return json.loads(message.numpy().tobytes())

    def on_main(self, act: Callable[[], T]) -> T:
        """Run `act` on rank 0 only, and return its JSON result on every rank. If it fails, every rank fails.

        Raises:
            MriganError: on rank 0, the error of `act`; on other ranks, `PeerError` with the same text.
        """
        result: Any = None
        failure: MriganError | None = None
        if self.main:
            try:
                result = act()
            except MriganError as error:
                failure = error
        message = self.broadcast({"result": result, "failure": str(failure) if failure else None})
        if failure is not None:
            raise failure
        if message["failure"] is not None:
            raise PeerError(f"rank 0 stopped: {message['failure']}")
        return result if self.main else message["result"]

    def barrier(self) -> None:
        """Wait for every rank."""
        self.any(0)

    def set_timeout(self, seconds: float) -> None:
        """Set the timeout of later messages of this rank, also on the device. Every rank should call it.

        Messages that are under way keep the earlier timeout.
        """
        if dist.is_initialized():
            change = getattr(dist, "set_timeout", None) or distributed_c10d._set_pg_timeout  # torch < 2.14
            for group in (None, self.control) if self.control is not None else (None,):
                change(timedelta(seconds=seconds), group)

    def _remembered(self, message: torch.Tensor) -> torch.Tensor:
        """Keep a weak reference to a tensor, which gloo's threads hold somewhat longer than the message takes."""
        self._messages[:] = [ref for ref in self._messages if ref() is not None]
        self._messages.append(weakref.ref(message))
        return message

    def _wait_for_release(self) -> None:
        """Wait until gloo's threads hold no tensor. One that frees a tensor while the interpreter ends would abort the
        process ("terminate called without an active exception"). With DDP these threads live until the end."""
        end = time.monotonic() + RELEASE_TIMEOUT_S
        while any(ref() is not None for ref in self._messages) and time.monotonic() < end:
            time.sleep(0.001)  # they need the interpreter's lock


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """`auto`, `cpu` or `cuda` → this process's device.

    Raises:
        ConfigError: `cuda` without a GPU, or more ranks than GPUs on this node.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"train.device is {name!r}", fix="one of auto, cpu, cuda")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise ConfigError(
            f"this node has {count} GPU(s), too few for its local rank {local_rank}",
            fix="start fewer ranks per node, or train.device=cpu",
        )
    return torch.device("cuda", local_rank)


@contextmanager
def join_world(device: str = "auto", timeout: timedelta = TIMEOUT, always_group: bool = False) -> Iterator[World]:
    """Join the other ranks, by the variables of torchrun (RANK, WORLD_SIZE, LOCAL_RANK); leave them at the end.

    Args:
        device: see `choose_device`.
        timeout: of every message.
        always_group: open a process group also for a single process.
    """
    rank, size, local_rank = (
        int(os.environ.get(name, default))
        for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
    )
    chosen = choose_device(device, local_rank)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if size == 1 and not always_group:
        yield World(rank, size, local_rank, chosen)
        return
    options: dict[str, Any] = {"store": dist.HashStore(), "rank": 0, "world_size": 1} if size == 1 else {}
    if chosen.type == "cuda":
        dist.init_process_group("nccl", timeout=timeout, device_id=chosen, **options)
    else:
        dist.init_process_group("gloo", timeout=timeout, **options)
    try:
        control = dist.new_group(backend="gloo", timeout=timeout) if size > 1 else None
        world = World(rank, size, local_rank, chosen, control)
        yield world
        world._wait_for_release()
    finally:
        dist.destroy_process_group()


def interleave(parts: Sequence[torch.Tensor], total: int) -> torch.Tensor:
    """The inverse of `items[rank::size]`: the ranks' results in the order of the items."""
    items = torch.empty(total, dtype=parts[0].dtype)
    for rank, part in enumerate(parts):
        items[rank :: len(parts)] = part
    return items

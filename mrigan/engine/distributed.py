"""Ranks and how they talk: found from the environment (torchrun or a bare process), gloo on CPUs, NCCL on GPUs.

Messages between hosts' Python code (stop flags, file decisions, scores) travel on a gloo group of their own, never on
the device, so that they neither wait for kernels nor make the host wait for them.
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

LET_GO_S = 10.0  # far more than freeing a few bytes takes
TIMEOUT = timedelta(minutes=30)  # a first step may be slow; a rank that died is noticed by torchrun at once


class PeerError(MriganError):
    """Rank 0 could not do its part; every other rank stops with its message."""


@dataclass(frozen=True)
class World:
    """This process among its peers."""

    rank: int
    size: int
    local_rank: int
    device: torch.device
    control: Any = None  # gloo group for messages on the CPU; None in a single process
    _sent: list[weakref.ref[torch.Tensor]] = field(default_factory=list, repr=False, compare=False)

    @property
    def main(self) -> bool:
        """Whether this is global rank 0: the one that writes files and talks to MLflow."""
        return self.rank == 0

    def any(self, flag: bool | int) -> int:
        """The largest `flag` of all ranks, on the CPU."""
        if self.control is None:
            return int(flag)
        value = self._noted(torch.tensor(int(flag)))
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
        lengths = [self._noted(torch.zeros((), dtype=torch.int64)) for _ in range(self.size)]
        dist.all_gather(lengths, self._noted(torch.tensor(len(values))), group=self.control)
        padded = self._noted(torch.zeros(int(max(lengths)), dtype=values.dtype))
        padded[: len(values)] = values
        parts = [self._noted(torch.empty_like(padded)) for _ in range(self.size)]
        dist.all_gather(parts, padded, group=self.control)
        return [part[: int(n)].clone() for part, n in zip(parts, lengths, strict=True)]  # not a view: see `_let_go`

    def broadcast(self, data: Any) -> Any:
        """Rank 0's JSON `data`, on every rank."""
        if self.control is None:
            return data
        body = bytearray(json.dumps(data).encode()) if self.main else bytearray()
        size = self._noted(torch.tensor(len(body)))
        dist.broadcast(size, 0, group=self.control)
        message = self._noted(
            torch.frombuffer(body, dtype=torch.uint8) if self.main else torch.empty(int(size), dtype=torch.uint8)
        )
        dist.broadcast(message, 0, group=self.control)
        return json.loads(message.numpy().tobytes())

    def on_main(self, act: Callable[[], T]) -> T:
        """Run `act` on rank 0 only and give its JSON result to every rank; where it fails, every rank fails, none
        hangs.

        Raises:
            MriganError: what `act` raised, on rank 0; `PeerError` with the same text elsewhere.
        """
        result: Any = None
        failure: MriganError | None = None
        if self.main:
            try:
                result = act()
            except MriganError as error:
                failure = error
        told = self.broadcast({"result": result, "failure": str(failure) if failure else None})
        if failure is not None:
            raise failure
        if told["failure"] is not None:
            raise PeerError(f"rank 0 stopped: {told['failure']}")
        return result if self.main else told["result"]

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.any(0)

    def set_timeout(self, seconds: float) -> None:
        """How long messages wait from now on, those on the device as well; of this rank, so every rank should call it.

        A group keeps the time it was made with for messages that are under way.
        """
        if dist.is_initialized():
            change = getattr(dist, "set_timeout", None) or distributed_c10d._set_pg_timeout  # torch < 2.14
            for group in (None, self.control) if self.control is not None else (None,):
                change(timedelta(seconds=seconds), group)

    def _noted(self, message: torch.Tensor) -> torch.Tensor:
        """Remember, without holding it, a tensor that gloo's threads hold a while longer than the message takes."""
        self._sent[:] = [ref for ref in self._sent if ref() is not None]
        self._sent.append(weakref.ref(message))
        return message

    def _let_go(self) -> None:
        """Wait until gloo's threads hold no message. One that frees a Python tensor while the interpreter ends takes
        the process down ("terminate called without an active exception"), and DDP keeps these threads to the end."""
        patience = time.monotonic() + LET_GO_S
        while any(ref() is not None for ref in self._sent) and time.monotonic() < patience:
            time.sleep(0.001)  # gives them the interpreter's lock


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """`auto`, `cpu` or `cuda` → this process's device.

    Raises:
        ConfigError: `cuda` where there is none, or more ranks than GPUs on this node.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"train.device is {name!r}", fix="one of auto, cpu, cuda")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise ConfigError(
            f"this node has {count} GPU(s), and rank {local_rank} of it wants one of its own",
            fix="start fewer ranks a node, or train.device=cpu",
        )
    return torch.device("cuda", local_rank)


@contextmanager
def join_world(device: str = "auto", timeout: timedelta = TIMEOUT, always_group: bool = False) -> Iterator[World]:
    """Find this process's place (RANK, WORLD_SIZE, LOCAL_RANK, set by torchrun), join the others; leave at the end.

    Args:
        device: see `choose_device`.
        timeout: of every message.
        always_group: open torch's process group for a single process too.
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
    how: dict[str, Any] = {"store": dist.HashStore(), "rank": 0, "world_size": 1} if size == 1 else {}
    if chosen.type == "cuda":
        dist.init_process_group("nccl", timeout=timeout, device_id=chosen, **how)
    else:
        dist.init_process_group("gloo", timeout=timeout, **how)
    try:
        control = dist.new_group(backend="gloo", timeout=timeout) if size > 1 else None
        world = World(rank, size, local_rank, chosen, control)
        yield world
        world._let_go()
    finally:
        dist.destroy_process_group()


def interleave(parts: Sequence[torch.Tensor], total: int) -> torch.Tensor:
    """Undo `items[rank::size]`: what ranks computed on every size-th item, back in the items' order."""
    whole = torch.empty(total, dtype=parts[0].dtype)
    for rank, part in enumerate(parts):
        whole[rank :: len(parts)] = part
    return whole

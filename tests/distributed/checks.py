"""Started by torchrun: what only several ranks can show. Rank r writes its findings to <out>/rank-r.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from mrigan.config import DetectorConfig, EngineConfig, GanConfig, GanLossConfig, GanModelConfig, OptimConfig
from mrigan.data import Batch
from mrigan.engine.ddp import DdpEngine
from mrigan.engine.distributed import World, interleave, join_world
from mrigan.engine.precision import Precision
from mrigan.engine.signals import StopRequest
from mrigan.errors import CheckpointError, MriganError
from mrigan.training.callbacks.guard import Guard
from mrigan.training.callbacks.meters import Meter
from mrigan.training.detector import detector_step
from mrigan.training.gan import gan_step
from tests.training.runs import gan_engines


def gan_losses(world: World, per_root: str, bucket_mib: float = 25) -> dict[str, Any]:
    """Four steps on the same global batches, whatever the number of ranks; losses, a fingerprint, reductions a step."""
    config = GanConfig(model=GanModelConfig(size=32, width=4, dropout=0.0), loss=GanLossConfig(per_root=per_root))
    config.engine.bucket_mib = bucket_mib
    engines = gan_engines(config, world)
    reduced = {name: count_reductions(engine) for name, engine in engines.items()}
    meter = Meter(world)
    for step in range(4):
        data = part(step, world)
        precision = Precision("fp32", world.device)
        meter.add(gan_step(*engines.values(), data, config=config, precision=precision, world=world).losses)
    return {
        "losses": meter.read(),
        "weights": {name: fingerprint(engine.module) for name, engine in engines.items()},
        "reductions": {name: sum(sizes) for name, sizes in reduced.items()},
        "buckets": {name: len(sizes) for name, sizes in reduced.items()},
        "parameters": {
            name: sum(p.numel() for p in e.module.parameters() if p.requires_grad) for name, e in engines.items()
        },
    }


def part(step: int, world: World) -> Batch:
    """This rank's part of a global batch of four; one class is on the last rank only."""
    draw = torch.Generator().manual_seed(step)
    face, mri = (torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=draw) for _ in range(2))
    label = torch.tensor([0.0, 0.0, 0.0, 1.0])
    zeros = torch.zeros(4, dtype=torch.int64)
    whole = Batch(face, mri, label, zeros, zeros, zeros, step)
    mine = slice(world.rank * 4 // world.size, (world.rank + 1) * 4 // world.size)
    values = {name: t[mine] if isinstance(t, torch.Tensor) else t for name, t in vars(whole).items()}
    return Batch(**values)


def fingerprint(network: nn.Module) -> list[float]:
    return [float(p.detach().double().abs().sum()) for p in network.parameters()]


def count_reductions(engine: DdpEngine) -> list[int]:
    """Note the number of elements of every bucket that DDP reduces."""
    sizes: list[int] = []
    if dist.is_initialized():
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

        def noted(group, bucket):  # type: ignore[no-untyped-def]  # DDP refuses other annotations than its own
            sizes.append(bucket.buffer().numel())
            return allreduce_hook(group, bucket)

        assert engine._ddp is not None
        engine._ddp.register_comm_hook(None, noted)
    return sizes


class Tiny(nn.Module):
    """A detector with BatchNorm, without a size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, stride=4)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(pictures)).mean((2, 3))).squeeze(1)


def detector_losses(world: World, with_norm: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    network = Tiny()
    if not with_norm:
        network.norm = nn.Identity()  # type: ignore[assignment]
    engine = DdpEngine(network, OptimConfig(lr=0.01), EngineConfig(), world, Precision("fp32", world.device))
    meter = Meter(world)
    for step in range(3):
        config, precision = DetectorConfig(), Precision("fp32", world.device)
        data = part(step, world)
        meter.add(detector_step(engine, None, data, config=config, precision=precision, world=world).losses)
    return {"losses": meter.read(), "weights": fingerprint(engine.module),
            "statistics": {n: b.tolist() for n, b in engine.module.named_buffers()}}  # fmt: skip


def messages(world: World) -> dict[str, Any]:
    """The helpers between ranks, errors on rank 0, a NaN on one rank, a signal on one rank."""
    found: dict[str, Any] = {"broadcast": world.broadcast({"é": [1, None]} if world.main else None)}
    found["on_main"] = world.on_main(lambda: world.rank + 40)
    parts = world.gather(torch.arange(11)[world.rank :: world.size].float())
    found["gathered"] = interleave(parts, 11).tolist()

    def fail() -> None:
        raise CheckpointError("the disk is on fire")

    try:
        world.on_main(fail)
    except MriganError as error:
        found["failure"] = str(error)
    guard = Guard(world, Precision("fp32", world.device))
    loss = torch.tensor(float("nan") if world.rank == world.size - 1 else 1.0)
    guard.record(1, {"loss": loss}, torch.zeros(()))
    found["diverged"] = str(guard.check())
    stop = StopRequest(world)
    stop.received = 10 if world.rank == world.size - 1 else 0  # SIGUSR1
    found["stop"] = stop.agreed(1)
    return found


def leave_while_a_message_travels(world: World, out: Path) -> None:
    """The last message is still held by gloo's thread when rank 0 leaves: rank 1 takes part only then."""
    leaving = out / "leaving"
    if world.main:
        dist.all_reduce(world._remembered(torch.zeros(())), group=world.control, async_op=True)
        leaving.touch()
    else:
        while not leaving.exists():
            pass
        dist.all_reduce(torch.zeros(()), group=world.control)


def main(out: Path) -> None:
    with join_world("cpu") as world:
        findings = {
            "image": gan_losses(world, "image"),
            "batch": gan_losses(world, "batch"),
            "small buckets": gan_losses(world, "image", bucket_mib=0.01),
            "detector": detector_losses(world, with_norm=False),
            "norm": detector_losses(world, with_norm=True),
            "messages": messages(world),
        }
        if world.size > 1:
            leave_while_a_message_travels(world, out)
    findings["held"] = sum(message() is not None for message in world._messages)
    (out / f"rank-{world.rank}.json").write_text(json.dumps(findings))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

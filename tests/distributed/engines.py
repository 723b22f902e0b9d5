"""Started bare or by torchrun: 20 steps of MRI-GAN on every engine, and what may be changed in between.

Rank 0 writes the weights after each case to <out>/weights.safetensors (`case/network`), the rest to <out>/facts.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.profiler import ProfilerActivity, profile

from mrigan.config import DetectorConfig, EngineConfig, GanConfig, GanLossConfig, GanModelConfig, OptimConfig
from mrigan.data import Batch
from mrigan.engine.build import build_engine
from mrigan.engine.distributed import World, join_world
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.training.detector import detector_step
from mrigan.training.gan import gan_step
from tests.distributed.checks import Tiny
from tests.documented import code
from tests.training.runs import gan_engines

ENGINES = ("ddp", "zero0", "zero1", "zero2", "zero3", "flat")
STEPS, BATCH, SIZE = 20, 4, 32
LR, SLOW = 2e-4, 2e-6  # the paper's; a hundredth of it, see test_engines.py


def part(step: int, world: World) -> Batch:
    """This rank's part of a global batch of four smooth pictures, half of the MRIs black."""
    draw = torch.Generator().manual_seed(step)
    coarse = torch.rand(BATCH, 6, SIZE // 8, SIZE // 8, generator=draw)
    pictures = nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear") * 255
    pictures = (pictures + 8 * torch.randn(pictures.shape, generator=draw)).clamp(0, 255).byte()
    face, mri = pictures[:, :3].contiguous(), pictures[:, 3:].contiguous()
    mri[::2] = 0
    label = torch.arange(BATCH).remainder(2).float()
    zeros = torch.zeros(BATCH, dtype=torch.int64)
    mine = slice(world.rank * BATCH // world.size, (world.rank + 1) * BATCH // world.size)
    return Batch(face[mine], mri[mine], label[mine], zeros[mine], zeros[mine], zeros[mine], step)


class Gan:
    """Both networks on one engine."""

    def __init__(
        self, world: World, engine: str, lr: float = SLOW, clip: float = 0.0, precision: str = "fp32", **more: Any
    ) -> None:
        self.world, self.precision = world, Precision(precision, world.device)
        self.config = GanConfig(
            model=GanModelConfig(size=SIZE, width=4, dropout=0.0),
            loss=GanLossConfig(adversarial="least_squares", per_root="image"),
            optim=OptimConfig(lr=lr, clip=clip),
            engine=EngineConfig(name=engine, **more),
        )
        self.engines = gan_engines(self.config, world, self.precision)

    def train(self, begin: int, end: int) -> list[float]:
        """The steps `begin` … `end - 1`; which of them were left out."""
        skipped = []
        for step in range(begin, end):
            result = gan_step(
                *self.engines.values(),
                part(step, self.world),
                config=self.config,
                precision=self.precision,
                world=self.world,
            )
            skipped.append(float(result.skipped))
        return skipped

    def weights(self) -> dict[str, torch.Tensor]:
        """All trained weights of each network in one row."""
        return {name: flat(engine) for name, engine in self.engines.items()}

    def reductions(self) -> dict[str, list[int]]:
        """What one step sends over gloo: kind of message → elements, those of one number left out."""
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as trace:
            self.train(STEPS, STEPS + 1)
        found: dict[str, list[int]] = {}
        for event in trace.events():
            if event.name.startswith("gloo:") and event.input_shapes[0] not in ([], [1]):
                found.setdefault(event.name, []).append(event.input_shapes[0][0])
        return found


def flat(engine: Engine) -> torch.Tensor:
    weights, _ = engine.state_dict()
    return torch.cat([tensor.detach().flatten().float() for _, tensor in sorted(weights.items())])


def on_every_engine(world: World, kept: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    for name in ("ddp", "zero0"):
        gan = Gan(world, name, lr=LR)
        gan.train(0, STEPS)
        keep(kept, f"fast/{name}", gan.weights())
    for name in ENGINES:
        gan = Gan(world, name)
        keep(kept, f"begin/{name}", gan.weights())
        gan.train(0, STEPS)
        keep(kept, f"end/{name}", gan.weights())
        facts[f"norms/{name}"] = {n: float(engine.grad_norm) for n, engine in gan.engines.items()}
        facts[f"reductions/{name}"] = gan.reductions()
        facts["parameters"] = {n: sum(p.numel() for p in e.trained.values()) for n, e in gan.engines.items()}  # type: ignore[attr-defined]


def in_parts(world: World, kept: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    for name in ("ddp", "zero1", "zero2"):
        gan = Gan(world, name, accumulate=2)
        gan.train(0, STEPS)
        keep(kept, f"parts/{name}", gan.weights())
        facts[f"reductions in parts/{name}"] = gan.reductions()


def clipped(world: World, kept: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    for name in ("ddp", "zero1", "zero3"):
        gan = Gan(world, name, clip=5.0)
        gan.train(0, 5)
        keep(kept, f"clipped/{name}", gan.weights())


def half(world: World, kept: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """fp16, with a loss scale that is too large in the beginning."""
    for name in ("ddp", "zero2"):
        gan = Gan(world, name, precision="fp16")
        gan.precision.scale.fill_(2.0**12)
        skipped = gan.train(0, 10)
        keep(kept, f"half/{name}", gan.weights())
        facts[f"half/{name}"] = {"skipped": skipped, "scale": float(gan.precision.scale)}


def switched(world: World, kept: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Ten steps on one engine, ten on another."""
    for first, second in (("ddp", "zero2"), ("zero2", "ddp"), ("zero1", "zero3"), ("zero3", "zero0")):
        before, after = Gan(world, first), Gan(world, second)
        before.train(0, STEPS // 2)
        for name, engine in before.engines.items():
            state = [{key: tensor.detach().clone() for key, tensor in half.items()} for half in engine.state_dict()]
            after.engines[name].load_state_dict(*state)
        after.train(STEPS // 2, STEPS)
        keep(kept, f"switched/{first} to {second}", after.weights())


def detectors(world: World, kept: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """With BatchNorm, whose running statistics are averaged over the ranks."""
    config = DetectorConfig()
    for name in ENGINES:
        torch.manual_seed(0)
        precision = Precision("fp32", world.device)
        engine = build_engine(Tiny(), OptimConfig(lr=0.01), EngineConfig(name=name), world, precision)
        for step in range(5):
            detector_step(engine, None, part(step, world), config=config, precision=precision, world=world)
        keep(kept, f"detector/{name}", {"detector": flat(engine)})


def momentum(world: World, kept: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """SGD: three steps on DDP, three on each engine from its state."""
    config, precision = DetectorConfig(), Precision("fp32", world.device)

    def train(engine: Engine, begin: int, end: int) -> None:
        for step in range(begin, end):
            detector_step(engine, None, part(step, world), config=config, precision=precision, world=world)

    def build(name: str) -> Engine:
        torch.manual_seed(0)
        return build_engine(Tiny(), OptimConfig(name="sgd", lr=0.01), EngineConfig(name=name), world, precision)

    first = build("ddp")
    train(first, 0, 3)
    weights, optimizer = ({key: t.detach().clone() for key, t in half.items()} for half in first.state_dict())
    for name in ENGINES:
        engine = build(name)
        engine.load_state_dict(weights, optimizer)
        train(engine, 3, 6)
        keep(kept, f"momentum/{name}", {"detector": flat(engine)})
        for key, tensor in engine.state_dict()[1].items():
            keep(kept, f"momentum/{name}", {key: tensor.detach().clone()})


def keep(kept: dict[str, torch.Tensor], case: str, weights: dict[str, torch.Tensor]) -> None:
    kept.update({f"{case}/{name}": tensor for name, tensor in weights.items()})


def main(out: Path) -> None:
    sys.modules["my_package.flat"] = code("An engine")  # of docs/extending.md, from outside the package; adds "flat"
    with join_world("cpu", always_group=True) as world:
        kept: dict[str, torch.Tensor] = {}
        facts: dict[str, Any] = {}
        for case in (on_every_engine, in_parts, clipped, half, switched, detectors, momentum):
            case(world, kept, facts)
        if world.main:
            save_file(kept, out / "weights.safetensors")
            (out / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

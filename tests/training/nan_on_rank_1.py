"""A small training under torchrun in which rank 1 alone meets a NaN, in its fifth step: SHARDS RUN ENGINE."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from mrigan.training import gan
from mrigan.training.task import StepResult
from mrigan.training.train import train
from tests.training.runs import gan_config


def main(shards: Path, run: Path, engine: str) -> None:
    logging.basicConfig(level=logging.WARNING)
    steps: list[int] = []
    engines: dict[str, Any] = {}
    gan_step, plain = gan.gan_step, gan.to_network

    def step(G: Any, D: Any, batch: Any, *, world: Any, **settings: Any) -> StepResult:
        engines.update(generator=G, discriminator=D)
        bad = world.rank == 1 and batch.step == 4 and 4 not in steps
        steps.append(batch.step)
        gan.to_network = (lambda *a: plain(*a) * math.nan) if bad else plain
        return gan_step(G, D, batch, world=world, **settings)

    gan.gan_step = step
    few = ["train.steps=8", "checkpoint.every=3", "tracking.log_every=4", "eval.every=50", "eval.samples=2"]
    train("gan", gan_config(shards, run, *few, "data.workers=0", "health.on_nan=roll_back", f"engine.name={engine}"))
    weights = [float(p.detach().double().abs().sum()) for e in engines.values() for p in e.module.parameters()]
    (run.parent / f"rank-{os.environ['RANK']}.json").write_text(json.dumps({"steps": steps, "weights": weights}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])

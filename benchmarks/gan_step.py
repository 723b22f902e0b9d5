"""Images a second of the full-size MRI-GAN step: python benchmarks/gan_step.py [batch] [steps] [threads]

A step is what training does: G with D frozen, then D, both with Adam; pictures are random, loading is not counted.
"""

from __future__ import annotations

import sys
import time

import torch

from mrigan.config import GanConfig
from mrigan.data import Batch
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.training.gan import build_engines, gan_step


def main(batch_size: int = 4, steps: int = 3, threads: int = 0) -> None:
    """One step to warm up, then `steps` timed ones, each for fp32 and bf16, contiguous and channels last."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(threads or torch.get_num_threads())
    print(f"full-size GAN step on {device}, {torch.get_num_threads()} threads, batch {batch_size}")
    faces, mris = torch.randint(0, 256, (2, batch_size, 3, 256, 256), dtype=torch.uint8, device=device)
    ids = torch.arange(batch_size)
    batch = Batch(faces, mris, torch.zeros(batch_size), ids, torch.zeros_like(ids), ids, 0)
    for channels_last in (False, True):
        for name in ("fp32", "bf16"):
            config = GanConfig()
            config.engine.channels_last = channels_last
            world = World(0, 1, 0, device)
            engines = build_engines(config, world)
            took = [seconds(engines, batch, config, Precision(name, device), world) for _ in range(steps + 1)][1:]
            wall, cpu = (batch_size * steps / sum(column) for column in zip(*took, strict=True))
            layout = "channels last" if channels_last else "contiguous"
            print(f"  {name}, {layout}: {wall:.3f} images/s, {cpu:.3f} images/CPU-second")


def seconds(engines: dict, batch: Batch, config: GanConfig, precision: Precision, world: World) -> tuple[float, float]:
    """Wall and CPU seconds of one step, until its result is there."""
    start, cpu = time.perf_counter(), time.process_time()
    losses = gan_step(
        engines["generator"], engines["discriminator"], batch, config=config, precision=precision, world=world
    )
    assert torch.isfinite(losses["generator"]).item()
    return time.perf_counter() - start, time.process_time() - cpu


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))

"""What the recipe costs: CPU-ms a stored face without it, with every family treated, and hence with 30 % of them.

    python benchmarks/recipe.py [CATALOG] [FAMILIES]

Without a catalog: the embedded sample. The same families each time, in one process; treated by three seeds, as noise
costs more than a text. Then each noise, augmentation and distraction alone on a 1280 × 720 frame, beside scikit-image.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from skimage.data import astronaut
from skimage.util import random_noise

from mrigan.catalog import scan_catalog, write_catalog
from mrigan.config import ShardsConfig, load_config
from mrigan.imaging.methods import Die
from mrigan.imaging.recipe import draw_step
from mrigan.imaging.treatment import METHODS
from mrigan.packing import plan_shards
from mrigan.packing.family import Sample, family_samples
from mrigan.packing.tools import Stages, Tools
from mrigan.sample import make_sample

PUBLISHED = 0.3  # of the families
SEEDS = (0, 1, 2)
THEIRS = {"salt_and_pepper": "s&p"}


def build(catalog: Path, folder: Path, overrides: list[str], families: int) -> tuple[Counter[str], int]:
    """CPU-seconds by stage, and faces."""
    config = load_config(ShardsConfig, "shards/pairs.yaml", [*overrides, "pack.shard_samples=1000000"])
    plan = plan_shards(catalog, config, folder)
    tools, stages, stored = Tools(plan), Stages(), 0
    tools.detector.detect([np.zeros((64, 64, 3), np.uint8)])
    for family in [family for unit in plan.units for family in unit.families][:families]:
        stored += sum(isinstance(item, Sample) for item in family_samples(family, tools, stages))
    return Counter(stages.seconds), stored


def report(title: str, results: list[tuple[Counter[str], int]]) -> float:
    """Print and return the CPU-ms a stored face."""
    seconds, stored = sum((s for s, _ in results), Counter[str]()), sum(n for _, n in results)
    stages = ", ".join(f"{stage} {1000 * value / stored:.2f}" for stage, value in seconds.most_common())
    print(f"{title}: {1000 * seconds.total() / stored:.1f} CPU-ms a stored face ({stored} faces): {stages}", flush=True)
    return 1000 * seconds.total() / stored


def milliseconds(work: Callable[[], Any], times: int = 5) -> float:
    work()
    start = time.process_time()
    for _ in range(times):
        work()
    return 1000 * (time.process_time() - start) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog", nargs="?", type=Path)
    parser.add_argument("families", nargs="?", type=int, default=1_000_000, help="at most so many")
    options = parser.parse_args()
    if options.catalog and not options.catalog.is_file():
        parser.error(f"there is no catalog {options.catalog}")
    families = options.families
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = options.catalog or folder / "catalog.parquet"
        if not options.catalog:
            write_catalog(scan_catalog("dfdc", make_sample(folder / "sample"))[0], path)
        off = report("recipe off", [build(path, folder / "off", [], families)])
        for on in ("augmented", "clean"):
            results = [build(path, folder / f"{on}-{seed}", ["recipe.share=1", f"recipe.detect_on={on}",
                             f"pack.seed={seed}"], families) for seed in SEEDS]  # fmt: skip
            every = report(f"every family treated, faces found on {on} frames", results)
            share = off + PUBLISHED * (every - off)
            print(f"hence with {PUBLISHED:.0%} of the families: {share:.1f} CPU-ms, {share / off:.2f} times as many")
    frame = cv2.resize(astronaut(), (1280, 720), interpolation=cv2.INTER_AREA)
    for kind, names in METHODS.items():
        for name in names:
            step, frames = draw_step(kind, name, Die(0, "benchmark")), count()  # of one frame, noise would be kept
            cost = milliseconds(lambda: step.apply(frame, (0, "benchmark", 0, next(frames))))  # noqa: B023
            line = f"{kind} {name}: {cost:.1f} CPU-ms"
            if kind == "noise":
                mode = THEIRS.get(name, name)
                line += f", scikit-image {milliseconds(lambda: random_noise(frame, mode=mode), 1):.1f}"  # noqa: B023
            print(line)


if __name__ == "__main__":
    main()

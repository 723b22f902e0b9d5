"""What many tests need, made in one line: loaders, batches, configs, scores."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from mrigan.data import EpochPlan, Loader, LoaderOptions, Samples, ShardSet, make_loader

SIZE = 32  # px, side of the pictures in test shards
ROOT = Path(__file__).parents[1]
_OF_SAMPLES = ("size", "mri", "seed", "flip", "augment", "on_bad")


def train_loader(
    shards: ShardSet,
    plan: EpochPlan,
    *,
    global_batch: int = 12,
    start_step: int = 0,
    stop_step: int = 7,
    rank: int = 0,
    world_size: int = 1,
    **options: Any,
) -> Loader:
    """A loader of `shards`; `options` are those of `Samples` and `LoaderOptions`. Half of the samples are flipped."""
    of_samples = {"size": SIZE, "flip": 0.5} | {name: options.pop(name) for name in _OF_SAMPLES if name in options}
    how = LoaderOptions(**options | {"device": torch.device(options.get("device", "cpu"))})
    return make_loader(
        Samples(shards, **of_samples),
        plan,
        range(start_step, stop_step),
        global_batch,
        rank=rank,
        world_size=world_size,
        options=how,
    )


def run_example(name: str, *arguments: object, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run a script of examples/ in this process; the lines that it printed."""
    capsys.readouterr()
    with mock.patch("sys.argv", [name, *map(str, arguments)]):
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    return capsys.readouterr().out.splitlines()

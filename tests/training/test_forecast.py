"""A step that will take minutes on a CPU is announced before it starts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from mrigan.config import GanConfig, load_config
from mrigan.data import Batch
from mrigan.training import forecast
from mrigan.training.forecast import probe
from mrigan.training.gan import GanTask
from mrigan.training.state import TrainState
from mrigan.training.task import StepResult
from tests.training.runs import logged, run_gan


def test_a_long_step_is_announced_before_the_first(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The estimate is the probe's time for two faces, times half of the batch; no weight is touched."""
    caplog.set_level(logging.INFO)
    own = ["train.steps=2", "checkpoint.every=2", "eval.every=2"]
    quiet = run_gan(shards, tmp_path / "quiet", *own)
    assert "on this CPU" not in caplog.text
    monkeypatch.setattr(forecast, "MIN_PIXELS", 0)
    monkeypatch.setattr(forecast, "probe", lambda task: probe(task) * 0 + 42.5)
    told = run_gan(shards, tmp_path / "told", *own)
    [line] = [record.message for record in caplog.records if "on this CPU" in record.message]
    assert line.startswith(
        "a step takes about 2 min 50 s on this CPU (8 faces of 64 px per rank); the remaining 2 steps"
    )
    assert "take about 5 min 40 s" in line
    assert caplog.text.index(line) < caplog.text.rindex("step 1/2")
    assert logged(told) == logged(quiet)


def test_the_probe_does_the_steps_own_work_on_two_faces() -> None:
    seen: list[Any] = []

    class Noted(GanTask):
        def step(self, state: TrainState, batch: Batch) -> StepResult:
            result = super().step(state, batch)
            seen.append((batch.face.shape, batch.mri is not None, result.losses))
            seen.append({p.grad is not None for p in state.engines["generator"].module.parameters()})
            return result

    assert probe(Noted(load_config(GanConfig, "gan/cpu-smoke.yaml", ["run.dir=x"]))) > 0
    [(shape, mri, losses), trained] = seen
    assert (tuple(shape), mri, trained) == ((2, 3, 64, 64), True, {True})
    assert losses["generator"] > 0

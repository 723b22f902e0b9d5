"""However a run is stopped, and at whatever step: started again it ends with the very same bits. Dropout is on."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrigan.data import EpochPlan, ShardSet
from mrigan.engine.checkpoint import CheckpointStore
from mrigan.stopping import Stopped
from mrigan.training import gan
from tests.training.runs import (
    STEPS,
    finish,
    hashes,
    last_step,
    logged,
    run_gan,
    start_gan,
    state,
    status,
    wait_for_step,
    wait_until,
)


def test_killed_in_the_middle_of_an_epoch(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    killed_run(shards, run, step=8)
    assert status(run)["state"] == "running"  # it could not say anything else
    saved = max(int(p.name[5:]) for p in (run / "checkpoints").glob("step-*"))
    assert 5 <= saved < last_step(run) < STEPS
    assert run_gan(shards, run) == run
    assert hashes(run) == hashes(undisturbed)
    assert logged(run) == logged(undisturbed)  # each step once, with the same loss
    assert logged(run, "val/ssim") == logged(undisturbed, "val/ssim")
    assert (run / "model" / "generator.safetensors").is_file()


def killed_run(shards: Path, run: Path, step: int) -> None:
    """Start or go on, and kill -9 when `step` is in the log; or let it end, if it is faster."""
    process = start_gan(shards, run)
    wait_for_step(run, step, process)
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL


@pytest.mark.faults
def test_killed_twenty_times_while_training(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    moments = random.Random(1)
    for number in range(20):
        run = tmp_path / f"run-{number}"
        killed_run(shards, run, step=moments.randrange(1, STEPS - 1))
        goes_on_to_the_same_end(shards, run, undisturbed, every=5)


def killed_while_saving(shards: Path, run: Path, moments: random.Random) -> None:
    """Checkpoints every two steps; kill -9 within some milliseconds after one of them has begun to be written."""
    process = start_gan(shards, run, "checkpoint.every=2", "data.workers=0")
    wait_for_step(run, moments.randrange(1, STEPS - 4), process)
    wait_until(lambda: any(run.glob("checkpoints/.step-*.tmp")), process)
    time.sleep(moments.random() * 0.02)
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL


def test_killed_while_saving(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    killed_while_saving(shards, tmp_path / "run", random.Random(3))
    goes_on_to_the_same_end(shards, tmp_path / "run", undisturbed, every=2)


@pytest.mark.faults
def test_killed_twenty_times_while_saving(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    moments = random.Random(2)
    for number in range(20):
        run = tmp_path / f"run-{number}"
        killed_while_saving(shards, run, moments)
        goes_on_to_the_same_end(shards, run, undisturbed, every=2)


def goes_on_to_the_same_end(shards: Path, run: Path, undisturbed: Path, every: int) -> None:
    """At most one interval is lost: the checkpoint that was being written, and no other."""
    done = last_step(run)
    saved = max(CheckpointStore(run / "checkpoints").steps(), default=0)
    assert saved >= done // every * every - every
    run_gan(shards, run, "data.workers=0")
    assert hashes(run) == hashes(undisturbed)
    assert logged(run) == logged(undisturbed)
    assert not list(run.glob("checkpoints/.step-*"))
    assert not list(run.glob("checkpoints/damaged-*"))
    shutil.rmtree(run)


@pytest.mark.parametrize("name", ["SIGTERM"])
def test_asked_to_stop(shards: Path, undisturbed: Path, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    process = start_gan(shards, run, "tracking.log_every=1")
    wait_for_step(run, 7, process)
    process.send_signal(signal.Signals[name])
    code, said = finish(process)
    assert code == 75, said
    stopped = status(run)
    assert (stopped["state"], stopped["step"]) == ("stopped", last_step(run))
    assert name in said
    assert "run the same command to continue" in said
    assert state(run, stopped["step"])["step"] == stopped["step"]
    run_gan(shards, run)
    assert hashes(run) == hashes(undisturbed)


def test_stopped_at_every_step(
    shards: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step at a time, each from the checkpoint of the one before."""
    monkeypatch.setattr("mrigan.engine.signals.StopRequest.agreed", lambda self, step: "SIGUSR1")
    run = tmp_path / "run"
    for step in range(1, STEPS + 1):
        with pytest.raises(Stopped):
            run_gan(shards, run, "data.workers=0")
        said = status(run)
        assert (said["state"], said["step"], said["mlflow_run_id"]) == ("stopped", step, None)
    assert hashes(run) == hashes(undisturbed)
    run_gan(shards, run)  # only the model is missing
    assert status(run)["state"] == "finished"
    assert logged(run) == logged(undisturbed)


def test_means_that_span_a_stop_are_whole(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    run_gan(shards, tmp_path, "tracking.log_every=8", "train.steps=10", "checkpoint.every=3")
    shutil.rmtree(tmp_path / "checkpoints" / "step-000010")
    run_gan(shards, tmp_path, "tracking.log_every=16", "checkpoint.every=3")
    losses = logged(undisturbed)
    assert logged(tmp_path)[16] == pytest.approx(np.mean([losses[step] for step in range(9, 17)]), rel=1e-5)


def test_momentum_and_a_schedule_are_resumed_exactly(shards: Path, tmp_path: Path) -> None:
    own = ["optim.name=sgd", "optim.schedule=cosine", "optim.warmup=2", "optim.decay_steps=9", "eval.every=50",
           "checkpoint.every=4", "eval.samples=2", "data.workers=0"]  # fmt: skip
    run_gan(shards, tmp_path / "whole", *own, "train.steps=8")
    run_gan(shards, tmp_path / "parts", *own, "train.steps=3")
    run_gan(shards, tmp_path / "parts", *own, "train.steps=8")
    assert hashes(tmp_path / "parts", 8) == hashes(tmp_path / "whole", 8)
    rates = logged(tmp_path / "whole", "learning_rate")
    assert [rates[step] for step in (1, 2, 3)] == pytest.approx([1e-4, 2e-4, 2e-4])
    assert 0 < rates[8] < rates[7] < 2e-4


def test_a_longer_run_goes_on(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    run_gan(shards, tmp_path, "train.steps=7", "checkpoint.every=100", "data.workers=0", "eval.every=3")
    run_gan(shards, tmp_path, "data.workers=2")
    assert hashes(tmp_path) == hashes(undisturbed)


def test_a_finished_run_is_left_alone(shards: Path, tmp_path: Path) -> None:
    run_gan(shards, tmp_path, "train.steps=1")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
    run_gan(shards, tmp_path, "train.steps=1")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")} == before


def test_a_damaged_newest_checkpoint(
    shards: Path, undisturbed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    newest = run / "checkpoints" / f"step-{STEPS:06d}" / "generator.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    run_gan(shards, run)
    assert f"step-{STEPS:06d}" in caplog.text
    assert hashes(run) == hashes(undisturbed)
    assert logged(run) == logged(undisturbed)


def test_no_sample_is_lost_or_seen_twice(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of an epoch is not lost with a stop in its middle, and epochs differ (each as the plan says)."""
    seen: list[np.ndarray] = []
    step = gan.gan_step

    def noted(G: Any, D: Any, batch: Any, **settings: Any) -> Any:
        seen.append(batch.ids.numpy().copy())
        return step(G, D, batch, **settings)

    monkeypatch.setattr(gan, "gan_step", noted)
    for steps in (3, 7, STEPS):
        run_gan(shards, tmp_path / "run", f"train.steps={steps}", "eval.every=50", "eval.samples=2")
    train = ShardSet.open([str(shards)], "train", "pairs")
    plan = EpochPlan(train.labels, 0)
    stream = np.concatenate(seen)
    assert len(stream) == STEPS * 8
    for epoch in range(3):
        part = stream[epoch * 42 : (epoch + 1) * 42]
        assert np.array_equal(part, plan.epoch(epoch))
        assert set(np.flatnonzero(train.labels == 0)) <= set(part)  # the smaller class, whole
    assert not np.array_equal(plan.epoch(0), plan.epoch(1))


def test_the_state_is_enough_to_know_the_run(undisturbed: Path) -> None:
    kept = state(undisturbed)
    assert kept["config"] == json.loads((undisturbed / "config.json").read_bytes())
    assert (kept["epoch"], kept["sample"]) == divmod(STEPS * 8, 42)
    assert kept["code_version"]
    assert kept["depends"]["kind"] == "gan"
    assert len(kept["depends"]["data_hash"]) == 64
    assert not [p for p in undisturbed.rglob("*") if p.suffix in (".pt", ".pth", ".pkl", ".bin")]

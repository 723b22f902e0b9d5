"""A batch that makes the losses NaN, under each policy, in real trainings; and that all ranks decide alike."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mrigan.config import EngineConfig, GanConfig, OptimConfig
from mrigan.data import EpochPlan, ShardSet
from mrigan.engine.ddp import DdpEngine
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.stopping import Stopped
from mrigan.training import gan
from mrigan.training.callbacks.guard import DivergedError, Guard
from mrigan.training.task import StepResult
from tests.distributed.checks import Tiny
from tests.training.runs import STEPS, finish, hashes, logged, run_gan, start, state, status

ALONE = World(0, 1, 0, torch.device("cpu"))
NAN = ["data.workers=0", "eval.samples=2", "tracking.log_every=2"]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """`poison(7)`: the batch with number 7 of the plan (from 0) is NaN for the networks; its runs are noted."""

    def _poison(*places: int) -> list[int]:
        plain, met = gan.to_network, []
        taken = {tuple(_ids(place).tolist()): place for place in places}
        gan_step = gan.gan_step

        def step(G: Any, D: Any, batch: Any, **settings: Any) -> StepResult:
            place = taken.get(tuple(batch.ids.tolist()))
            if place is not None:
                met.append(place)
                monkeypatch.setattr(gan, "to_network", lambda *a: plain(*a) * math.nan)
            result = gan_step(G, D, batch, **settings)
            monkeypatch.setattr(gan, "to_network", plain)
            return result

        monkeypatch.setattr(gan, "gan_step", step)
        return met

    def _ids(place: int) -> np.ndarray:
        return plan.batch(place, 8)

    plan: EpochPlan

    def start_with(shards: Path, *places: int) -> list[int]:
        nonlocal plan
        plan = EpochPlan(ShardSet.open([str(shards)], "train", "pairs").labels, GanConfig().train.seed)
        return _poison(*places)

    return start_with


def all_finite(run: Path, step: int = STEPS) -> bool:
    files = (run / "checkpoints" / f"step-{step:06d}").glob("*.safetensors")
    return all(bool(t.isfinite().all()) for file in files for t in load_file(file).values())


def test_stop_names_step_rank_losses_and_samples(shards: Path, tmp_path: Path, poison: Callable[..., Any]) -> None:
    poison(shards, 6)
    with pytest.raises(DivergedError) as error:
        run_gan(shards, tmp_path, *NAN)
    said = str(error.value)
    assert "step 7: generator = nan" in said
    assert "discriminator = nan on rank 0" in said
    train = ShardSet.open([str(shards)], "train", "pairs")
    plan = EpochPlan(train.labels, 0)
    assert all(train.key(int(i)) in said for i in plan.batch(6, 8))
    assert "health.on_nan=skip or roll_back" in said
    assert (status(tmp_path)["state"], status(tmp_path)["retry"]) == ("failed", False)
    assert max(logged(tmp_path)) == 6  # the next line would have been of step 8
    # What the message tells to do: the same command with another policy. The weights never saw that batch.
    run_gan(shards, tmp_path, *NAN, "health.on_nan=skip")
    assert all_finite(tmp_path)


def test_skip_leaves_the_step_out(
    shards: Path, tmp_path: Path, poison: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    met = poison(shards, 6, 7, 11)
    skip = [*NAN, "health.on_nan=skip", "health.skip_limit=2"]
    run_gan(shards, tmp_path / "run", *skip)
    assert met == [6, 7, 11]
    assert status(tmp_path / "run")["state"] == "finished"
    assert all_finite(tmp_path / "run")
    adam = load_file(tmp_path / "run" / "checkpoints" / f"step-{STEPS:06d}" / "generator_optimizer.safetensors")
    assert {float(t) for name, t in adam.items() if name.endswith(".step")} == {STEPS - 3}
    assert logged(tmp_path / "run", "health/bad_steps") == {8: 2, 12: 1}
    assert logged(tmp_path / "run", "train/skipped")[8] == 1.0
    assert all(value is None or math.isfinite(value) for value in logged(tmp_path / "run").values())
    assert logged(tmp_path / "run")[8] is None  # both of its steps were NaN
    assert logged(tmp_path / "run")[12] is not None  # the mean of the other one
    assert "step 7: generator = nan" in caplog.text
    assert "2 in a row, at most 2" in caplog.text
    with pytest.raises(DivergedError, match=r"2 such steps in a row, and health\.skip_limit is 1"):
        run_gan(shards, tmp_path / "strict", *NAN, "health.on_nan=skip", "health.skip_limit=1")


def test_roll_back_goes_on_past_the_batch(
    shards: Path, tmp_path: Path, poison: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Seen at the line of step 8, back to the checkpoint of step 5; its next step takes the batch after the eighth."""
    met = poison(shards, 6)
    run = tmp_path / "run"
    back = [*NAN, "health.on_nan=roll_back"]
    seen: list[tuple[int, int]] = []
    caplog.set_level(logging.INFO)
    with pytest.MonkeyPatch.context() as patch:
        step = gan.gan_step
        patch.setattr(gan, "gan_step", lambda G, D, batch, **s: seen.append(batch.step) or step(G, D, batch, **s))
        run_gan(shards, run, *back)
    assert met == [6]
    assert seen == [*range(8), *range(5, STEPS)]
    assert status(run)["state"] == "finished"
    assert all_finite(run)
    assert (state(run)["left_out"], state(run)["roll_backs"]) == (3, 1)
    assert (state(run)["epoch"], state(run)["sample"]) == divmod((STEPS + 3) * 8, 42)
    assert logged(run, "health/rolled_back_from") == {6: 8.0}
    assert logged(run, "health/batches_left_out") == {6: 3.0}
    assert sorted(logged(run)) == [2, 4, 6, 8, 10, 12, 14, 16]  # each step once
    assert "returning to the checkpoint of step 5, and skipping 3 batches" in caplog.text

    # Stopped between the bad step and the line that finds it, as it goes back, and after: the same bits and journal.
    met.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mrigan.engine.signals.StopRequest.agreed", lambda self, step: "SIGUSR1" * (step > 6))
        for _ in range(1 + STEPS - 6):
            with pytest.raises(Stopped):
                run_gan(shards, tmp_path / "parts", *back)
    run_gan(shards, tmp_path / "parts", *back)
    assert met == [6]
    assert hashes(tmp_path / "parts") == hashes(run)
    assert logged(tmp_path / "parts", "health/rolled_back_from") == {6: 8.0}
    whole, parts = logged(run), logged(tmp_path / "parts")
    assert parts.keys() == whole.keys()
    assert [parts[k] for k in whole] == pytest.approx(list(whole.values()), rel=1e-6)


def test_it_does_not_go_back_for_ever(shards: Path, tmp_path: Path, poison: Callable[..., Any]) -> None:
    met = poison(shards, *range(6, 100))
    with pytest.raises(DivergedError, match=r"returned to a checkpoint 2 times, and health\.roll_back_limit is 2"):
        run_gan(shards, tmp_path / "run", *NAN, "health.on_nan=roll_back", "health.roll_back_limit=2")
    assert met[0] == 6
    with pytest.raises(DivergedError, match="no checkpoint before step 7"):
        run_gan(shards, tmp_path / "early", *NAN, "health.on_nan=roll_back", "checkpoint.every=50")


def test_a_spike_under_each_policy(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gan_step, risen = gan.gan_step, []

    def spiking(G: Any, D: Any, batch: Any, **settings: Any) -> StepResult:
        result = gan_step(G, D, batch, **settings)
        if batch.step != 19 or risen:
            return result
        risen.append(batch.step)
        return dataclasses.replace(result, losses={**result.losses, "generator": result.losses["generator"] * 100})

    monkeypatch.setattr(gan, "gan_step", spiking)
    spike = ["data.workers=0", "eval.samples=2", "eval.every=50", "train.steps=24"]
    run_gan(shards, tmp_path / "report", *spike)
    assert "a loss has spiked: step 20: generator = " in caplog.text
    assert list(logged(tmp_path / "report", "health/spike_generator")) == [20]
    risen.clear()
    with pytest.raises(DivergedError, match="step 20: generator = "):
        run_gan(shards, tmp_path / "stop", *spike, "health.on_spike=stop")
    risen.clear()
    run_gan(shards, tmp_path / "back", *spike, "health.on_spike=roll_back", "checkpoint.every=6")
    assert logged(tmp_path / "back", "health/rolled_back_from") == {19: 20.0}  # from the checkpoint of step 18
    assert state(tmp_path / "back", 24)["left_out"] == 2
    assert max(logged(tmp_path / "back").values()) < 10 * min(logged(tmp_path / "back").values())


def test_running_statistics_survive_a_step_that_is_left_out() -> None:
    torch.manual_seed(0)
    engine = DdpEngine(Tiny(), OptimConfig(), EngineConfig(), ALONE, Precision("fp32", ALONE.device))
    before: dict[str, torch.Tensor] = {}
    for pictures in (torch.rand(4, 3, 16, 16), torch.full((4, 3, 16, 16), math.inf)):
        before = {name: t.clone() for name, t in engine.module.state_dict().items()}
        engine.backward(engine(pictures).mean())
        engine.step()
    after = engine.module.state_dict()
    assert not torch.isfinite(engine.grad_norm)
    assert before["norm.running_mean"].any()
    assert all(torch.equal(t, after[name]) for name, t in before.items() if "num_batches" not in name)


def test_steps_that_a_loss_scale_costs_are_not_bad() -> None:
    def look(precision: Precision, loss: float, skipped: float) -> object:
        guard = Guard(ALONE, precision)
        guard.record(1, {"loss": torch.tensor(loss)}, torch.tensor(skipped))
        return guard.check()

    fp16, fp32 = (Precision(name, torch.device("cpu")) for name in ("fp16", "fp32"))
    assert look(fp16, loss=1.0, skipped=1.0) is None
    assert "gradient was not finite" in str(look(fp32, loss=1.0, skipped=1.0))
    assert "loss = inf on rank 0" in str(look(fp16, loss=math.inf, skipped=1.0))
    fp16.scale = torch.tensor(2.0**-11)
    assert look(fp16, loss=1.0, skipped=1.0) is not None


def two_ranks(shards: Path, out: Path, engine: str) -> list[dict[str, Any]]:
    """Rank 1 alone meets a NaN: both go back, and go on with the same weights."""
    process = start(str(shards), str(out / "run"), engine, ranks=2, page="../tests/training/nan_on_rank_1.py")
    code, said = finish(process)
    assert code == 0, said
    assert "step 5: generator = nan" in said
    assert "on rank 1" in said
    assert said.count("returning to the checkpoint of step 3") == 1
    ranks = [json.loads((out / f"rank-{rank}.json").read_bytes()) for rank in (0, 1)]
    assert ranks[0]["steps"] == ranks[1]["steps"] == [*range(6), *range(3, 8)]  # found at a checkpoint
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert all(math.isfinite(x) for x in ranks[0]["weights"])
    return ranks


def test_two_ranks_decide_alike(shards: Path, tmp_path: Path) -> None:
    two_ranks(shards, tmp_path, "ddp")


@pytest.mark.faults
def test_zero_goes_back_to_the_same_moments(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "zero2").mkdir()
    plain = two_ranks(shards, tmp_path, "ddp")[0]["weights"]
    assert two_ranks(shards, tmp_path / "zero2", "zero2")[0]["weights"] == pytest.approx(plain, rel=1e-4)

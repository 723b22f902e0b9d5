"""Checkpoints while training goes on: each is of its step, errors stop the run, the average travels along."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mrigan.engine.build import check_engine
from mrigan.engine.checkpoint import CheckpointStore
from mrigan.engine.distributed import World
from mrigan.engine.zero import deepspeed_settings
from mrigan.errors import CheckpointError, ConfigError
from mrigan.models import generator_info, load_generator
from tests.training.runs import PATIENCE, STEPS, gan_config, hashes, last_step, logged, run_gan, state, status

EMA = ["model.ema_half_life=40", "data.workers=0"]


def test_training_goes_on_while_a_checkpoint_is_written(
    shards: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first write ends only when the log has three more steps; what it has written is of its own step."""
    save, during = CheckpointStore.save, {}

    def slow(store: CheckpointStore, step: int, *rest: Any) -> Path:
        ready = threading.Event()
        if step == 5:
            for _ in range(int(PATIENCE / 0.01)):
                if last_step(tmp_path / "run") >= 8:
                    break
                ready.wait(0.01)
        during[step] = last_step(tmp_path / "run")
        return save(store, step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", slow)
        run_gan(shards, tmp_path / "run", "data.workers=0", "checkpoint.keep=9")
    assert during[5] >= 8
    assert sorted(during) == [5, 10, 15, STEPS]
    assert all(step <= at <= step + 5 for step, at in during.items())
    assert hashes(tmp_path / "run") == hashes(undisturbed)
    run_gan(shards, tmp_path / "five", "data.workers=0", "train.steps=5")
    assert hashes(tmp_path / "run", 5) == hashes(tmp_path / "five", 5)


def test_a_write_that_fails_stops_the_run_before_the_next(
    shards: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = CheckpointStore.save

    def full(store: CheckpointStore, step: int, *rest: Any) -> Path:
        if step == 10:
            raise CheckpointError("cannot save a checkpoint: no space left on device", where=store.path(step))
        return save(store, step, *rest)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", full)
        with pytest.raises(CheckpointError, match="no space left"):
            run_gan(shards, run, "data.workers=0")
    assert 10 <= last_step(run) < 15
    assert status(run)["state"] == "failed"
    assert "no space" in status(run)["error"]
    assert CheckpointStore(run / "checkpoints").steps() == [5]
    run_gan(shards, run, "data.workers=0")  # space was made
    assert hashes(run) == hashes(undisturbed)


def test_permanent_checkpoints_stay(shards: Path, tmp_path: Path) -> None:
    run_gan(shards, tmp_path, "data.workers=0", "checkpoint.every=2", "checkpoint.keep=2", "checkpoint.permanent=6")
    best = json.loads((tmp_path / "checkpoints" / "best.json").read_bytes())["step"]
    assert set(CheckpointStore(tmp_path / "checkpoints").steps()) == {6, 12, 14, 16, best}


def test_the_average_is_what_is_evaluated_and_kept(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    run_gan(shards, tmp_path, *EMA)
    last = tmp_path / "checkpoints" / f"step-{STEPS:06d}"
    trained, averaged = (load_generator(last / f"{name}.safetensors") for name in ("generator", "generator_ema"))
    plain = hashes(undisturbed)
    assert {name: sha for name, sha in hashes(tmp_path).items() if "ema" not in name} == plain  # it only looks on
    assert not torch.equal(trained.head.conv.weight, averaged.head.conv.weight)
    assert logged(tmp_path, "val/ssim")[STEPS] != logged(undisturbed, "val/ssim")[STEPS]
    model = tmp_path / "model" / "generator.safetensors"
    best = generator_info(model)["step"]
    kept = load_file(tmp_path / "checkpoints" / f"step-{best:06d}" / "generator_ema.safetensors")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in load_file(model).items())


def test_a_stopped_average_goes_on(shards: Path, tmp_path: Path) -> None:
    run_gan(shards, tmp_path / "whole", *EMA)
    run_gan(shards, tmp_path / "parts", *EMA, "train.steps=7")
    run_gan(shards, tmp_path / "parts", *EMA)
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "whole")
    assert "generator_ema.safetensors" in hashes(tmp_path / "parts")


def test_a_stopped_loss_scale_goes_on(shards: Path, tmp_path: Path) -> None:
    fp16 = ["train.precision=fp16", "data.workers=0", "eval.samples=2"]
    run_gan(shards, tmp_path / "whole", *fp16)
    run_gan(shards, tmp_path / "parts", *fp16, "train.steps=7")
    run_gan(shards, tmp_path / "parts", *fp16)
    assert hashes(tmp_path / "parts") == hashes(tmp_path / "whole")
    scale = state(tmp_path / "whole")["precision"]
    assert scale == state(tmp_path / "parts")["precision"]
    skipped = logged(tmp_path / "whole", "train/skipped")
    assert skipped[1] == 1  # 65536 is too much for the first steps
    assert 0 < sum(skipped.values()) < STEPS
    assert scale["scale"] == 65536.0 / 2 ** sum(skipped.values())


def test_a_run_goes_on_from_the_one_before_when_the_newest_is_damaged(
    shards: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """Another engine may do so too; alone in the world it has the same bits."""
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    newest = run / "checkpoints" / f"step-{STEPS:06d}" / "discriminator_optimizer.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    run_gan(shards, run, "data.workers=0", "engine.name=single")
    assert hashes(run) == hashes(undisturbed)


@pytest.mark.parametrize(("overrides", "said"), [
    (["loss.per_root=batch", "engine.accumulate=2"], "engine.accumulate=1"),
    (["model.ema_half_life=100", "engine.name=zero3"], "ZeRO 3"),
    (["engine.accumulate=3"], "multiple of 3"),
    (["engine.config=x.json"], "does not read engine.config"),
    (["engine.name=zero2", "engine.config=x.json"], "x.json"),
], ids=["root of a batch", "average under ZeRO 3", "parts", "settings that DDP ignores", "no settings"])  # fmt: skip
def test_engines_that_cannot_be(shards: Path, tmp_path: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run_gan(shards, tmp_path / "run", "data.workers=0", *overrides)
    assert not (tmp_path / "run").exists()


def test_single_is_for_one_process(shards: Path, tmp_path: Path) -> None:
    config = gan_config(shards, tmp_path, "engine.name=single")
    with pytest.raises(ConfigError, match="2 ranks"):
        check_engine(config.engine, World(0, 2, 0, torch.device("cpu")))
    assert check_engine(config.engine, World(0, 1, 0, torch.device("cpu"))) is None


def test_settings_of_deepspeed(tmp_path: Path) -> None:
    for stage in range(4):
        settings = deepspeed_settings(f"zero{stage}")
        assert settings["zero_optimization"]["stage"] == stage
        assert settings["gradient_clipping"] == 0  # it would clip to 1 where nothing is said
    own = tmp_path / "own.json"
    own.write_text('{"zero_optimization": {"stage": 2}, "fp16": {"enabled": true}}')
    with pytest.raises(ConfigError, match=r"(?s)fp16 .*train\.precision"):
        deepspeed_settings("zero2", str(own))
    with pytest.raises(ConfigError, match="stage 2"):
        deepspeed_settings("zero1", str(own))
    own.write_text("stage: 2")
    with pytest.raises(ConfigError, match=str(own)):
        deepspeed_settings("zero2", str(own))

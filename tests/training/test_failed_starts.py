"""A start that fails leaves nothing that the corrected command has to fight with: the first checkpoint pins a run."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from pathlib import Path

import pytest

from mrigan.config import to_dict
from mrigan.errors import CheckpointError, ConfigError, ModelError, MriganError
from mrigan.files import write_json
from tests.tracking.stores import new_store
from tests.training.runs import gan_config, hashes, logged, run_detector, run_gan, state, status


def tracked_runs(store: str) -> list[tuple[str, str]]:
    """(name, status) of the runs in an MLflow store, the deleted ones too."""
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        return database.execute("select name, status from runs").fetchall()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("model.backbone=test_efficientnat", ConfigError),
        ("model.weights=nowhere.safetensors", ModelError),
        ("data.decode_on=cuda", MriganError),
        ("data.shards=nowhere", MriganError),
    ],
)
def test_a_typo_leaves_no_failed_run_and_is_corrected_by_the_same_command(
    wrong: str, expected: type[MriganError], shards: Path, tmp_path: Path
) -> None:
    run, store = tmp_path / "run", new_store(tmp_path / "mlflow.db")
    own = ["tracking.enabled=true", f"tracking.uri={store}", "tracking.register=false", "train.steps=1"]
    with pytest.raises(expected):
        run_detector(shards, run, *own, "optim.lr=0.5", wrong)
    assert tracked_runs(store) == []
    run_detector(shards, run, *own)
    assert tracked_runs(store) == [("run", "FINISHED")]
    assert status(run)["state"] == "finished"
    assert state(run, 1)["config"]["optim"]["lr"] == 1e-4
    assert [path.name for path in tmp_path.glob("run*")] == ["run"]


def test_what_a_start_logged_before_its_first_checkpoint_is_kept_by_itself(
    shards: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers are of other settings: neither lost, nor mixed with those of the next start."""
    from mrigan.training import gan

    def broken(*args: object, **kwargs: object) -> object:
        if args[2].step >= 3:  # type: ignore[attr-defined]
            raise RuntimeError("no more")
        return gan_step(*args, **kwargs)

    gan_step = gan.gan_step
    with monkeypatch.context() as patch:
        patch.setattr(gan, "gan_step", broken)
        with pytest.raises(RuntimeError, match="no more"):
            run_gan(shards, tmp_path / "run", "optim.lr=0.001")
    assert sorted(logged(tmp_path / "run")) == [1, 2, 3]
    run_gan(shards, tmp_path / "run")
    assert hashes(tmp_path / "run") == hashes(undisturbed)
    assert sorted(logged(tmp_path / "run.old-1")) == [1, 2, 3]
    with pytest.raises(CheckpointError, match=r"optim.lr: 0.0002 → 0.001"):
        run_gan(shards, tmp_path / "run", "optim.lr=0.001")


def older(run: Path, **given: str) -> None:
    """Rewrite a run's config as a version before `data.balance` kept it; `given`: values of the section model."""
    config = json.loads((run / "config.json").read_bytes())
    del config["data"]["balance"]
    config["model"] |= given
    write_json(run / "config.json", config)


def test_a_run_from_before_a_key_goes_on_as_it_began(shards: Path, tmp_path: Path) -> None:
    """Its epochs were balanced, its empty `model.weights` were random weights."""
    own = ["data.workers=0", "checkpoint.every=4"]
    whole = run_detector(shards, tmp_path / "whole", *own, "data.balance=classes", "train.steps=8")
    part = run_detector(shards, tmp_path / "part", *own, "data.balance=classes", "train.steps=4")
    older(part, weights="")
    run_detector(shards, part, *own, "train.steps=8")
    assert hashes(part, 8) == hashes(whole, 8)
    with pytest.raises(CheckpointError, match=r"data.balance: classes → none"):
        run_detector(shards, whole, *own, "train.steps=9")


def test_an_older_gan_run_goes_on(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    older(run)
    run_gan(shards, run)
    assert hashes(run) == hashes(undisturbed)
    assert to_dict(gan_config(shards, run))["data"]["balance"] == "classes"


def test_a_score_of_other_faces_chooses_no_best(shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An earlier version scored 16 faces: were its luckiest score kept, no later checkpoint could be the best."""
    run = run_gan(shards, tmp_path / "run", "train.steps=5")
    path = run / "checkpoints" / "step-000005" / "state.json"
    state = json.loads(path.read_bytes())
    assert state.pop("scored_on").startswith("15 faces, ")
    state["format"] = 1  # which has no checksum of its values
    del state["checksum"]
    state["best"] = {"step": 5, "score": 0.9999}
    write_json(path, state)
    caplog.set_level(logging.INFO)
    run_gan(shards, run, "train.steps=6")
    assert "the best checkpoint is chosen from the new ones" in caplog.text
    best = json.loads((run / "checkpoints" / "best.json").read_bytes())
    assert best["step"] == 6
    caplog.clear()
    run_gan(shards, run, "train.steps=7")
    assert "chosen from the new" not in caplog.text

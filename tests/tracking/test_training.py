"""Whole trainings on the CPU, killed, or with MLflow away: in the end MLflow has what `metrics.jsonl` has, once."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from mrigan.errors import TrackingError
from mrigan.tracking import Run, list_models, send
from tests.tracking.server import free_port
from tests.tracking.stores import new_store
from tests.training.runs import finish, run_detector, run_gan, start_gan, status, wait_for_step, write_tiny_shards


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("tiny") / "shards")


def tracked(store: str) -> list[tuple[str, int]]:
    """(key, step) of all metrics in the store; a list, so that what is there twice is twice in it."""
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        return sorted(database.execute("select key, step from metrics"))


def journal(run: Path) -> list[tuple[str, int]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return sorted(
        (key, row["step"])
        for row in lines
        for key, value in row.items()
        if key not in ("step", "time") and value is not None
    )


def test_killed_between_the_metrics_and_the_checkpoint(shards: Path, tmp_path: Path) -> None:
    run, store = tmp_path / "run", new_store(tmp_path / "mlflow.db")
    own = ["tracking.enabled=true", f"tracking.uri={store}", "tracking.log_every=1", "data.workers=0"]
    process = start_gan(shards, run, *own)
    wait_for_step(run, 8, process)
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    run_gan(shards, run, *own)  # from the checkpoint of step 5
    assert tracked(store) == journal(run)
    assert {step for _, step in journal(run)} == set(range(1, 17))
    assert send(run)[0] == 0
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select status from runs").fetchall() == [("FINISHED",)]


def test_a_finished_run_that_is_started_again_is_left_alone(shards: Path, tmp_path: Path) -> None:
    run, store = tmp_path / "run", new_store(tmp_path / "mlflow.db")
    own = ["tracking.enabled=true", f"tracking.uri={store}", "data.workers=0", "train.steps=2"]
    named = ["run.name=a name", "tracking.experiment=an experiment"]

    def everything() -> list[list[tuple]]:
        with sqlite3.connect(tmp_path / "mlflow.db") as database:
            return [
                database.execute(f"select * from {table}").fetchall() for table in ("runs", "tags", "metrics", "inputs")
            ]

    run_gan(shards, run, *own, *named)
    before = everything()
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        names = database.execute("select r.name, e.name from runs r join experiments e using (experiment_id)")
        assert names.fetchall() == [("a name", "an experiment")]
    assert len(before[-1]) == 2  # the data it learned from, and the held-out ones
    run_gan(shards, run, *own)
    assert everything() == before


def test_trained_without_mlflow_and_sent_later(shards: Path, tmp_path: Path) -> None:
    run, store = tmp_path / "run", new_store(tmp_path / "mlflow.db")
    away = f"tracking.uri=http://127.0.0.1:{free_port()}"
    own = ["tracking.enabled=true", "tracking.patience=0", "data.workers=0", "train.steps=2", away,
           "tracking.register_anyway=true"]  # fmt: skip
    with pytest.raises(TrackingError, match="cannot be used"):
        run_detector(shards, run, *own, "tracking.on_failure=stop")
    run_detector(shards, run, *own)
    assert status(run)["state"] == "finished"
    moved = run.rename(tmp_path / "moved")
    count, run_id = send(moved, store)
    assert count > 5
    assert tracked(store) == journal(moved)
    [version] = list_models(store)
    assert (version.name, version.aliases, version.run_id) == ("mrigan-face", ("candidate",), run_id)
    assert {("threshold/frame", 2), ("threshold/fraction", 2)} <= set(journal(moved))


def test_told_to_stop_when_mlflow_breaks(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is saved, and the run says that a next start would fail, too, as long as MLflow does."""
    run, store = tmp_path / "run", new_store(tmp_path / "mlflow.db")
    own = ["tracking.enabled=true", f"tracking.uri={store}", "tracking.log_every=1", "data.workers=0",
           "tracking.on_failure=stop", "tracking.patience=0"]  # fmt: skip
    whole, log = (tmp_path / "mlflow.db").read_bytes(), Run.log_metrics

    def break_at_step_3(self: Run, metrics: dict[str, float | None], step: int) -> None:
        if step == 3:
            (tmp_path / "mlflow.db").write_bytes(b"no database" * 4096)
        log(self, metrics, step)
        deadline = time.monotonic() + 60
        while step == 3 and time.monotonic() < deadline and not failed(self):
            time.sleep(0.01)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log_metrics", break_at_step_3)
        with pytest.raises(TrackingError, match="file is not a database"):
            run_gan(shards, run, *own)
    said = status(run)
    assert (said["state"], said["retry"], said["step"]) == ("failed", False, 3)
    (tmp_path / "mlflow.db").write_bytes(whole)
    run_gan(shards, run, *own)
    found = tracked(store)  # of a copy of the store that knows nothing of the first steps
    assert len(found) == len(set(found))
    assert {step for _, step in found} >= set(range(3, 17))
    assert set(found) <= set(journal(run))


def failed(run: Run) -> bool:
    try:
        run.check()
    except TrackingError:
        return True
    return False

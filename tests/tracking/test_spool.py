"""What waits for MLflow: bounded, for one process at a time, damaged, refused; and files that hold nothing up."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mrigan.config import TrackingConfig
from mrigan.errors import TrackingError
from mrigan.tracking import Run, send, spool
from mrigan.tracking.spool import Spool
from tests.tracking.stores import new_store


@pytest.fixture
def config(tmp_path: Path) -> TrackingConfig:
    return TrackingConfig(uri=new_store(tmp_path / "mlflow.db"), patience=0.1)


def steps(config: TrackingConfig, run_id: str | None, key: str = "a") -> list[int]:
    assert run_id is not None
    return [m.step for m in MlflowClient(config.uri).get_metric_history(run_id, key)]


def test_it_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(spool, "MAX_BYTES", 500)
    queue = Spool(tmp_path / "tracking.db")
    for step in range(50):
        queue.add_metrics({"a": 1.0}, step, 1_700_000_000_000)
    kept = queue.kinds()["metrics"]
    assert 1 < kept < 12
    assert caplog.text.count("is full") == 1
    queue.add("status", {"status": "FAILED"})  # what is not in metrics.jsonl is kept
    assert queue.kinds() == {"metrics": kept, "status": 1}
    queue.remove(queue.first(kept))
    queue.add_metrics({"a": 1.0}, kept, 1_700_000_000_000)  # one that was not kept is not taken for sent
    queue.close()
    again = Spool(tmp_path / "tracking.db")
    again.add_metrics({"a": 1.0, "b": 1.0}, kept, 1_700_000_000_000)
    assert [(e.kind, e.body.get("values")) for e in again.first(9)] == [
        ("status", None),
        ("metrics", {"a": 1.0}),
        ("metrics", {"b": 1.0}),
    ]
    again.close()


def test_two_threads_and_a_closed_file(tmp_path: Path) -> None:
    queue = Spool(tmp_path / "tracking.db")
    taken: list[int] = []

    def take() -> None:
        while len(taken) < 2000:
            entries = queue.first(50)
            taken.extend(entry.body["step"] for entry in entries)
            queue.remove(entries)

    taker = threading.Thread(target=take)
    taker.start()
    for step in range(2000):
        queue.add_metrics({"a": 1.0}, step, 0)
    taker.join()
    assert taken == list(range(2000))
    queue.close()
    queue.add("tags", {})
    assert queue.first(1) == []
    assert queue.kinds() == {}
    assert queue.fact("run_id") == ""


def test_one_process_at_a_time(
    config: TrackingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that finds `mrigan track send` at work does not wait for it: it keeps its entries in memory."""
    monkeypatch.setattr(spool, "MAX_LOCK_WAIT", 0.01)
    held = Spool(tmp_path / "tracking.db")
    with pytest.raises(TrackingError, match="locked"):
        send(tmp_path)
    with Run.start(config, "job", folder=tmp_path) as run:
        run.log_metrics({"a": 1.0}, 1)
    assert "in memory" in caplog.text
    assert steps(config, run.id) == [1]
    held.close()


def test_a_damaged_file_is_put_aside(config: TrackingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Run.start(config, "job", folder=tmp_path) as first:
        first.log_metrics({"a": 1.0}, 1)
    (tmp_path / "tracking.db").write_bytes(b"damaged" * 1000)
    with Run.start(config, "job", first.id, folder=tmp_path) as run:
        run.log_metrics({"a": 2.0}, 1)
        run.log_metrics({"a": 2.0}, 2)
    assert "is damaged" in caplog.text
    assert (tmp_path / "tracking.db.damaged").read_bytes() == b"damaged" * 1000
    assert run.id == first.id
    assert steps(config, run.id) == [1, 2]


def test_what_mlflow_refuses_is_dropped_alone(
    config: TrackingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Run.start(config, "job", folder=tmp_path) as run:
        for step in range(20):
            run.log_metrics({"bad*key" if step == 7 else "a": 1.0}, step)
        run.register(tmp_path, "mrigan-face", {"step": 1})  # no model
        run.log_artifact(tmp_path / "gone.png")
    assert steps(config, run.id) == [step for step in range(20) if step != 7]
    refused = [r.getMessage() for r in caplog.records if "refused" in r.getMessage()]
    assert len(refused) == 2
    assert "step 7" in refused[0]
    assert "mrigan-face" in refused[1]
    assert "gone.png does not exist any more" in caplog.text
    assert "not sent to MLflow (" not in caplog.text


def test_a_run_deleted_on_the_way_is_replaced(
    config: TrackingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run.start(config, "job", folder=tmp_path)
    first = run.id
    assert first is not None
    MlflowClient(config.uri).delete_run(first)
    run.log_metrics({"a": 1.0}, 1)
    run.close()
    assert f"no run {first}" in caplog.text
    assert run.id != first
    assert steps(config, run.id) == [1]


def test_files_that_fail_hold_no_metrics_up(
    config: TrackingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The artifact store is broken: the folder that it lies in is a file."""
    (tmp_path / "mlruns").write_text("no folder")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "picture.png").write_bytes(b"a picture")
    with caplog.at_level(logging.INFO, "mrigan"):
        run = Run.start(config, "job", params={"a": 1}, folder=tmp_path / "run")
        run.log_artifact(tmp_path / "run" / "picture.png", "pictures")
        for step in range(5):
            run.log_metrics({"a": 1.0}, step)
        deadline = time.monotonic() + 60
        while run.id is None or steps(config, run.id) != list(range(5)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        run.close()
    assert "3 entries (1 artifact, 2 text)" in caplog.text
    assert "cannot be used" not in caplog.text
    assert MlflowClient(config.uri).get_run(run.id).info.status == "FINISHED"
    (tmp_path / "mlruns").unlink()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    assert send(tmp_path / "moved") == (3, run.id)
    kept = {f.path for f in MlflowClient(config.uri).list_artifacts(run.id)}
    assert kept == {"config.json", "environment.json", "pictures"}

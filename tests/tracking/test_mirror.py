"""What waits for MLflow: cut by a kill, for one process at a time, of an earlier version, damaged, refused; and files
that hold nothing up."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mrigan.config import TrackingConfig
from mrigan.errors import TrackingError
from mrigan.tracking import Run, send
from mrigan.tracking.log import START, LineLog
from mrigan.tracking.mirror import Mirror
from tests.tracking.stores import model_folder, new_store


@pytest.fixture
def config(tmp_path: Path) -> TrackingConfig:
    return TrackingConfig(uri=new_store(tmp_path / "mlflow.db"), patience=0.1)


def steps(config: TrackingConfig, run_id: str | None, key: str = "a") -> list[int]:
    assert run_id is not None
    return [m.step for m in MlflowClient(config.uri).get_metric_history(run_id, key)]


def test_one_thread_writes_and_another_reads(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "metrics.jsonl")
    seen: list[int] = []

    def read() -> None:
        position = START
        while not seen or seen[-1] < 1999:
            rows, position = log.read(position, 50)
            seen.extend(row["step"] for row in rows)

    reader = threading.Thread(target=read)
    reader.start()
    for step in range(2000):
        log.append({"step": step})
    reader.join()
    assert seen == list(range(2000))


def test_a_line_that_a_kill_has_cut_is_ignored(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "metrics.jsonl")
    log.append({"step": 1})
    with open(log.path, "ab") as file:
        file.write(b'{"step": 2, "lo')
    rows, position = log.read()
    log.append({"step": 3})
    assert [row["step"] for row in rows + log.read(position)[0]] == [1, 3]


def test_a_log_that_is_rewound_is_read_from_the_start(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "metrics.jsonl")
    for step in range(10):
        log.append({"step": step})
    _, position = log.read()
    log.rewind(3)
    log.append({"step": 4})
    assert [row["step"] for row in log.read(position)[0]] == [0, 1, 2, 3, 4]


HOLD = """
import sys
from pathlib import Path
from mrigan.tracking.mirror import Mirror
Mirror(Path(sys.argv[1])).open()
print("open", flush=True)
sys.stdin.read()
"""


def test_one_process_at_a_time(config: TrackingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A job that finds `mrigan track send` at work does not wait for it: it logs, and sends when the other is done."""
    with Run.start(config, "job", folder=tmp_path) as run:
        run.log_metrics({"a": 1.0}, 1)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        with pytest.raises(TrackingError, match="another process"):
            send(tmp_path)
        again = Run.start(config, "job", folder=tmp_path)
        again.log_metrics({"a": 2.0}, 2)
        assert "training continues" in caplog.text
        other.stdin.close()
        other.wait()
    config.patience = 30
    again.close()
    assert again.id == run.id
    assert steps(config, run.id) == [1, 2]


def test_a_damaged_state_is_made_up_for_by_asking(
    config: TrackingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Run.start(config, "job", folder=tmp_path) as first:
        first.log_metrics({"a": 1.0}, 1)
    (tmp_path / "tracking.json").write_bytes(b"damaged")
    with Run.start(config, "job", run_id=first.id, folder=tmp_path) as run:
        run.log_metrics({"a": 2.0}, 1)
        run.log_metrics({"a": 2.0}, 2)
    assert "is damaged" in caplog.text
    assert run.id == first.id
    assert steps(config, run.id) == [1, 2]


OLD_QUEUE = """
import json, os, sqlite3, sys
queue = sqlite3.connect(sys.argv[1] + "/tracking.db")
queue.execute("PRAGMA locking_mode=EXCLUSIVE"), queue.execute("PRAGMA journal_mode=WAL")
queue.executescript('''
    CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS marks (key TEXT PRIMARY KEY, step INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);
''')
facts = {"uri": sys.argv[2], "experiment": "mrigan", "name": "old", "run_id": sys.argv[3], "started": "1700000000000"}
queue.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
metrics = [("metrics", {"step": step, "time": 1700000000000 + step, "values": {"a": 1.0}}) for step in (2, 3)]
for kind, body in [("params", {"b": "1"}), ("tags", {"data_hash": "x"}),
                   ("artifact", {"path": "x.png", "folder": "pictures"}),
                   ("text", {"name": "environment.json", "text": "{}"}), *metrics,
                   ("dataset", {"name": "d", "digest": "e", "source": "/", "context": "training", "profile": {}}),
                   ("model", {"folder": "model", "name": "mrigan-face", "tags": {"step": 3}}),
                   ("status", {"status": "FAILED", "time": 1700000009000})]:
    queue.execute("INSERT INTO entries (kind, body) VALUES (?, ?)", (kind, json.dumps(body)))
queue.commit()
os._exit(0)  # as by a kill: the lines are in the write-ahead log
"""


@pytest.mark.parametrize("resumed", [True, False])
def test_the_queue_of_an_earlier_version_is_sent(config: TrackingConfig, tmp_path: Path, resumed: bool) -> None:
    config.patience = 30
    with Run.start(config, "old") as first:
        first.log_metrics({"a": 1.0}, 1)
    folder = tmp_path / "run"
    model_folder(folder / "model")
    (folder / "x.png").write_bytes(b"a picture")
    lines = [json.dumps({"step": step, "a": 1.0, "undefined": None}) + "\n" for step in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    subprocess.run([sys.executable, "-c", OLD_QUEUE, str(folder), config.uri, first.id or ""], check=True)
    assert (folder / "tracking.db-wal").stat().st_size
    if resumed:
        with Run.start(config, "old", folder=folder) as run:
            run.log_metrics({"a": 2.0}, 4)
    else:
        assert send(folder) == (10, first.id)
    assert not list(folder.glob("tracking.db*"))
    assert send(folder) == (0, first.id)
    client = MlflowClient(config.uri)
    found = client.get_run(str(first.id))
    assert steps(config, first.id) == [1, 2, 3, *([4] if resumed else [])]
    assert (found.data.params, found.data.tags["data_hash"]) == ({"b": "1"}, "x")
    assert [data.dataset.name for data in found.inputs.dataset_inputs] == ["d"]
    assert found.info.status == ("FINISHED" if resumed else "FAILED")
    assert resumed or found.info.end_time == 1700000009000
    assert {f.path for f in client.list_artifacts(str(first.id))} == {"environment.json", "pictures"}
    assert [v.run_id for v in client.search_model_versions("name = 'mrigan-face'")] == [first.id]


def test_a_new_store_gets_the_whole_run(config: TrackingConfig, tmp_path: Path) -> None:
    """Not only what the first one lacks."""
    with Run.start(config, "job", params={"b": 1}, folder=tmp_path / "run") as first:
        for step in range(5):
            first.log_metrics({"a": 1.0}, step)
    other = TrackingConfig(uri=new_store(tmp_path / "other.db"))
    count, run_id = send(tmp_path / "run", other.uri)
    assert count > 5
    assert run_id not in (None, first.id)
    assert steps(other, run_id) == list(range(5))
    run = MlflowClient(other.uri).get_run(run_id)
    assert (run.data.params, run.info.status) == ({"b": "1"}, "FINISHED")
    assert {f.path for f in MlflowClient(other.uri).list_artifacts(run_id)} == {"config.json", "environment.json"}


def test_a_line_that_comes_as_the_thread_is_about_to_end_is_sent(
    config: TrackingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.start(config, "job", folder=tmp_path)
    look, late = Mirror._send_file, threading.Event()

    def look_last(self: Mirror) -> bool:
        found = look(self)
        if not found and not late.is_set():  # it has seen all lines, and does not know yet that the run ends
            run.set_tags({"late": "1"})
            self._ending.set()
            late.set()
        return found

    monkeypatch.setattr(Mirror, "_send_file", look_last)
    assert late.wait(60)
    run.close()
    found = MlflowClient(config.uri).get_run(str(run.id))
    assert (found.data.tags["late"], found.info.status) == ("1", "FINISHED")


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
    assert "3 lines (3 artifact)" in caplog.text
    assert "cannot be used" not in caplog.text
    assert MlflowClient(config.uri).get_run(run.id).info.status == "FINISHED"
    (tmp_path / "mlruns").unlink()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    assert send(tmp_path / "moved") == (3, run.id)
    kept = {f.path for f in MlflowClient(config.uri).list_artifacts(run.id)}
    assert kept == {"config.json", "environment.json", "pictures"}

"""One run a job: read back from the sqlite file itself and by a plain MLflow client."""

from __future__ import annotations

import getpass
import json
import logging
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from mrigan import __version__
from mrigan.cli.app import app
from mrigan.config import GanConfig, TrackingConfig, flatten, to_dict
from mrigan.errors import TrackingError
from mrigan.tracking import Run, send, tracking_uri
from tests.conftest import ROOT
from tests.tracking.stores import new_store


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder that a job is started in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Path:
    """The same with a store in it, as the second job finds it."""
    new_store(folder / "mlflow.db")
    return folder


def rows(file: Path, query: str, *values: str) -> list[tuple]:
    with sqlite3.connect(file) as database:
        return database.execute(query, values).fetchall()


def test_a_run_holds_config_tags_metrics_and_files(folder: Path) -> None:
    config = to_dict(GanConfig())
    config["data"]["shards"] = ["x" * 7000]
    config["many"] = {f"k{i}": i for i in range(250)}
    with Run.start(TrackingConfig(), "first", params=config, tags={"data_hash": "abc"}) as run:
        run.log_metrics({"loss/g": 1.5, "loss/d": 0.25}, step=7)
        run.log_metrics({"odd": float("nan"), "huge": float("inf")}, step=8)
        run.log_metrics({"odd": 2.0}, step=9)
        (folder / "grid").mkdir()
        (folder / "grid" / "a.txt").write_text("a")
        run.log_artifact(folder / "grid", "kept")
        run.log_artifact(folder / "grid" / "a.txt")
        (folder / "step-000007.png").write_bytes(b"a picture")
        run.log_artifact(folder / "step-000007.png", "pictures")

    file = folder / "mlflow.db"
    assert run.id is not None
    params = dict(rows(file, "select key, value from params where run_uuid = ?", run.id))
    assert params.keys() == flatten(config).keys()
    assert params["loss.tau"] == "0.3"
    assert params["data.shards"] == str(["x" * 7000])[:6000]
    tags = dict(rows(file, "select key, value from tags where run_uuid = ?", run.id))
    assert tags["data_hash"] == "abc"
    assert tags["mrigan.version"] == __version__
    assert tags["code_version"]
    assert tags["mlflow.user"] == getpass.getuser()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert tags.get("mlflow.source.git.commit", "") == commit.strip()  # "" in an unpacked archive
    assert tags["mlflow.source.name"].startswith(Path(sys.argv[0]).name)
    metrics = rows(file, "select key, value, step, is_nan from metrics where run_uuid = ? order by key", run.id)
    assert ("loss/d", 0.25, 7, 0) in metrics
    assert ("loss/g", 1.5, 7, 0) in metrics
    assert {m[0] for m in metrics} == {"loss/d", "loss/g", "odd"}  # neither NaN nor an infinity
    assert [m[1:3] for m in metrics if m[0] == "odd"] == [(2.0, 9)]
    [[status, name, where]] = rows(file, "select status, name, artifact_uri from runs where run_uuid = ?", run.id)
    assert (status, name) == ("FINISHED", "first")
    artifacts = folder / "mlruns" / "mrigan" / run.id / "artifacts"
    assert where == artifacts.as_uri()
    assert json.loads((artifacts / "config.json").read_text())["data"]["shards"] == ["x" * 7000]
    assert json.loads((artifacts / "environment.json").read_text())["python"].startswith("3.")
    for kept in ("kept/grid/a.txt", "a.txt", "pictures/step-000007.png"):
        assert (artifacts / kept).is_file()


def test_a_run_shows_its_data_and_says_where_it_is(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mrigan"), Run.start(TrackingConfig(), "job") as run:
        for split, context in (("train", "training"), ("val", "validation")):
            run.log_dataset(["shards/a", store / "b"], split, "0123456789abcdef" * 4, context, {"samples": 7})
    data = MlflowClient(run.uri).get_run(run.id).inputs.dataset_inputs
    seen = {(d.dataset.name, d.dataset.digest, d.tags[0].value) for d in data}
    digest = ("0123456789abcdef" * 4)[:36]
    assert seen == {("a, b: train", digest, "training"), ("a, b: val", digest, "validation")}
    assert json.loads(data[0].dataset.source) == {"uri": f"{store / 'shards' / 'a'}, {store / 'b'}"}
    where = f"/#/experiments/{MlflowClient(run.uri).get_run(run.id).info.experiment_id}/runs/{run.id} "
    assert [where in record.message for record in caplog.records] == [True, True]  # at the start, and at the end


def test_a_new_store_is_made_without_a_word_of_its_tables(folder: Path) -> None:
    code = (
        "import logging; logging.basicConfig(level=logging.INFO)\n"
        "from mrigan.tracking import Run; from mrigan.config import TrackingConfig\n"
        "with Run.start(TrackingConfig(), 'job'): pass"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert "MLflow run" in done.stderr
    assert "alembic" not in done.stdout + done.stderr


def test_a_resumed_job_continues_its_run(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Run.start(TrackingConfig(), "job", params={"train": {"steps": 5}})
    first.log_metrics({"loss": 1.0}, 1)
    first.close("KILLED")
    with caplog.at_level(logging.WARNING, "mrigan"):
        second = Run.start(TrackingConfig(), "job", run_id=first.id, params={"train": {"steps": 9, "seed": 1}})
    assert second.id == first.id
    assert not caplog.records
    second.log_metrics({"loss": 0.5}, 2)
    second.close()
    seen = MlflowClient(second.uri).get_metric_history(first.id, "loss")
    assert [(m.step, m.value) for m in seen] == [(1, 1.0), (2, 0.5)]
    assert MlflowClient(second.uri).get_run(first.id).data.params == {"train.steps": "5", "train.seed": "1"}


def test_a_run_that_is_gone_is_replaced_with_a_warning(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = Run.start(TrackingConfig(), "job")
    MlflowClient(gone.uri).delete_run(gone.id)
    for run_id in (gone.id, "f" * 32):
        run = Run.start(TrackingConfig(), "job", run_id=run_id)
        assert run.active
        assert run.id not in (None, run_id)
        assert f"no run {run_id}" in caplog.text


def test_a_failed_block_marks_the_run_failed(store: Path) -> None:
    with pytest.raises(ZeroDivisionError), Run.start(TrackingConfig(), "job") as run:
        raise ZeroDivisionError
    assert MlflowClient(run.uri).get_run(run.id).info.status == "FAILED"


def test_which_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri() == f"sqlite:///{store / 'mlflow.db'}"
    new_store(store / "config.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'sub' / 'env.db'}")
    with Run.start(TrackingConfig(), "job"):
        pass
    with Run.start(TrackingConfig(uri="sqlite:///config.db"), "job") as run:
        pass
    assert rows(store / "sub" / "env.db", "select count(*) from runs") == [(1,)]
    assert (store / "sub" / "mlruns").is_dir()
    assert rows(store / "config.db", "select run_uuid from runs") == [(run.id,)]


def test_disabled_is_the_same_shape_and_does_nothing(folder: Path) -> None:
    with Run.start(TrackingConfig(enabled=False), "job", params={"a": 1}) as run:
        run.set_tags({"a": 1})
        run.log_metrics({"a": 1.0}, 1)
        run.log_artifact("nothing")
        run.register("nothing", "mrigan-face", {})
    assert not run.active
    assert run.id is None
    assert list(folder.iterdir()) == []


def test_a_store_out_of_reach_never_stops_a_job(
    store: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was meant for it is kept, and goes to another one on request."""
    (store / "plain file").write_text("no folder")
    closed = f"http://127.0.0.1:{free_port()}"
    for number, uri in enumerate((closed, f"sqlite:///{store}/plain file/x.db", str(store / "runs"), "nonsense://x")):
        caplog.clear()
        job = store / f"job-{number}"
        with Run.start(TrackingConfig(uri=uri, patience=0), "job", params={"a": 1}, folder=job) as run:
            run.log_metrics({"a": 1.0}, 1)
            assert run.active
            assert run.id is None
        assert caplog.text.count("training continues") == 1
        assert "tracking.enabled=false" in caplog.text
        assert f"mrigan track send {job}" in caplog.text
        with pytest.raises(TrackingError, match="not sent to MLflow"):
            send(job, patience=0)
    sent = CliRunner().invoke(app, ["track", "send", str(job), "--uri", f"sqlite:///{store}/mlflow.db"])
    assert sent.exit_code == 0, sent.output
    [found] = MlflowClient(f"sqlite:///{store}/mlflow.db").search_runs(["1"])
    assert (found.data.params, found.data.metrics, found.info.status) == ({"a": "1"}, {"a": 1.0}, "FINISHED")
    assert found.info.run_id in sent.output
    assert "nothing to send" in CliRunner().invoke(app, ["track", "send", str(job)]).output
    with pytest.raises(TrackingError, match="nothing for MLflow"):
        send(store)


def test_a_store_that_breaks_on_the_way(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = (store / "mlflow.db").read_bytes()
    run = Run.start(TrackingConfig(patience=0.1), "job", folder=store / "run")
    (store / "mlflow.db").write_bytes(b"no database" * 4096)
    for step in range(5):
        run.log_metrics({"a": 1.0}, step)
    run.close()
    assert caplog.text.count("training continues") == 1
    assert "track send" in caplog.text
    (store / "mlflow.db").write_bytes(whole)  # from a copy that knows nothing of the run
    count, run_id = send(store / "run")
    assert count >= 5
    assert run_id not in (None, run.id)
    assert [m.step for m in MlflowClient(run.uri).get_metric_history(run_id, "a")] == [0, 1, 2, 3, 4]


def test_told_to_stop_without_mlflow_or_to_forget_it(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(TrackingError, match="cannot be used"):
        Run.start(TrackingConfig(uri=uri, on_failure="stop"), "job", folder=store / "run")
    with Run.start(TrackingConfig(uri=uri, on_failure="off"), "job", folder=store / "run") as run:
        assert not run.active
        run.log_metrics({"a": 1.0}, 1)
    assert "continues without it" in caplog.text
    asked = threading.Event()
    config = TrackingConfig(on_failure="stop", patience=0)
    run = Run.start(config, "job", folder=store / "other", request_stop=asked.set)
    run.check()
    (store / "mlflow.db").write_bytes(b"no database" * 4096)
    run.log_metrics({"a": 1.0}, 1)
    assert asked.wait(60)
    with pytest.raises(TrackingError, match="then run the same command"):
        run.check()
    run.close("FAILED")
    assert "metrics" in caplog.text  # among what is left


def test_two_jobs_share_a_new_store(folder: Path) -> None:
    program = (
        "from mrigan.config import TrackingConfig; from mrigan.tracking import Run\n"
        "with Run.start(TrackingConfig(), 'job') as run:\n"
        "    for step in range(300): run.log_metrics({'a': 1.0, 'b': 2.0}, step)"
    )
    jobs = [
        subprocess.Popen([sys.executable, "-c", program], cwd=folder, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for job in jobs:
        _, said = job.communicate(timeout=120)
        assert (job.returncode, said) == (0, "")
    assert rows(folder / "mlflow.db", "select count(*) from runs where status = 'FINISHED'") == [(2,)]
    each = rows(folder / "mlflow.db", "select count(*), count(distinct step) from metrics group by run_uuid")
    assert each == [(600, 300), (600, 300)]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]

"""MLflow's server is away, dies, hangs, its answers are lost, the job is killed: all arrives, and nothing twice."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mrigan.config import TrackingConfig
from mrigan.tracking import Run, send
from tests.tracking.server import Relay, Server
from tests.tracking.stores import model_folder

ONCE = "select key, step, count(*) from metrics where run_uuid = ? group by key, step order by key, step"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """On its way up: `wait` for it."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def relay(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    server.wait()
    relay = Relay(server.port)
    yield relay
    relay.close()


def metrics(server: Server, run_id: str | None) -> list[tuple[str, int, int]]:
    """(key, step, how often) in the server's own table."""
    with sqlite3.connect(server.folder / "server.db") as database:
        return database.execute(ONCE, (run_id,)).fetchall()


def once(*keys: str, steps: int) -> list[tuple[str, int, int]]:
    return [(key, step, 1) for key in keys for step in range(steps)]


def test_down_at_the_start_then_up(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The server of this module has just been started: it may or may not be there yet. All arrives."""
    model = model_folder(tmp_path / "run" / "model")
    with Run.start(TrackingConfig(uri=server.uri), "early", params={"a": 1}, folder=tmp_path / "run") as run:
        for step in range(30):
            run.log_metrics({"loss": 1 / (step + 1), "rate": 2.0}, step)
        run.log_artifact(model)
        run.register(model, "mrigan-face", {"step": 29})
        server.wait()
    client = MlflowClient(server.uri)
    found = client.get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"a": "1"}
    assert metrics(server, run.id) == once("loss", "rate", steps=30)
    assert {f.path for f in client.list_artifacts(run.id, "model")} == {
        "model/model.json",
        "model/detector.safetensors",
    }
    [version] = client.search_model_versions(f"run_id = '{run.id}'")
    assert client.get_model_version_by_alias("mrigan-face", "candidate").version == version.version


def test_a_server_that_hangs_holds_nothing_up(relay: Relay, server: Server, tmp_path: Path) -> None:
    run = Run.start(TrackingConfig(uri=relay.uri), "hang", folder=tmp_path / "run")
    assert run.id
    relay.holds = True
    step = 0
    while not relay.lost.is_set() or step < 1000:  # goes on while a request hangs
        run.log_metrics({"loss": 1.0}, step)
        step += 1
    assert len(metrics(server, run.id)) < step
    relay.holds = False
    run.close()
    assert metrics(server, run.id) == once("loss", steps=step)


def test_answers_that_are_lost(relay: Relay, server: Server, tmp_path: Path) -> None:
    """The run is made, metrics are taken, a model is registered: each time the job does not hear of it."""
    folder = tmp_path / "run"
    model = model_folder(folder / "model")
    config = TrackingConfig(uri=relay.uri, patience=0, experiment="deaf")
    relay.deaf_to = b"runs/create"
    run = Run.start(config, "deaf", folder=folder)
    run.close("KILLED")
    assert relay.lost.is_set()

    relay.deaf_to = b'"metrics"'
    run = Run.start(config, "deaf", folder=folder)
    run_id = run.id
    for step in range(20):
        run.log_metrics({"loss": 1.0}, step)
    wait_for_rows(server, run_id)
    run.close("KILLED")

    relay.deaf_to = b"model-versions/create"
    config.patience = 30
    run = Run.start(config, "deaf", folder=folder)
    assert run.id == run_id
    for step in range(10, 30):  # from the checkpoint on, with other values
        run.log_metrics({"loss": 2.0}, step)
    for _ in range(2):  # as by a job that is killed before it notes that it is finished
        run.register(model, "mrigan-mri", {"step": 29})
    run.close()
    assert metrics(server, run_id) == once("loss", steps=30)
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("deaf")
    assert experiment is not None
    [only] = client.search_runs([experiment.experiment_id])
    assert (only.info.run_id, only.info.status) == (run_id, "FINISHED")
    [version] = client.search_model_versions("name = 'mrigan-mri'")
    assert client.get_model_version_by_alias("mrigan-mri", "candidate").version == version.version


def wait_for_rows(server: Server, run_id: str | None) -> None:
    """Until the server has some of the run's metrics."""
    deadline = time.monotonic() + 60
    while not metrics(server, run_id):
        assert time.monotonic() < deadline
        time.sleep(0.01)


KILLED = """
import sys, time
from pathlib import Path
from mrigan.config import TrackingConfig
from mrigan.tracking import Run
run = Run.start(TrackingConfig(uri=sys.argv[1]), "killed", folder=Path(sys.argv[2]))
first = int(sys.argv[3])
for step in range(first, 10**9):
    run.log_metrics({"loss": 1.0, "rate": float(step)}, step)
    if step == first + 50:
        print(run.id, flush=True)
    time.sleep(0.001)
"""


def test_the_job_and_the_server_are_killed(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server.wait()
    folder = tmp_path / "run"
    command = [sys.executable, "-c", KILLED, server.uri, str(folder), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        run_id = job.stdout.readline().strip()
        wait_for_rows(server, run_id)
        job.send_signal(signal.SIGKILL)
    reached = max(step for _, step, _ in metrics(server, run_id))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_bytes().splitlines()]
    last = max(reached, *(line["step"] for line in lines)) + 100  # the log may be far ahead of a busy server

    run = Run.start(TrackingConfig(uri=server.uri, patience=0.1), "killed", folder=folder)
    assert run.id == run_id
    server.kill()
    for step in range(reached // 2, last):  # the steps after the checkpoint come again; those behind the kill are new
        run.log_metrics({"loss": 2.0, "rate": 0.0}, step)
    run.close("KILLED")
    assert f"mrigan track send {folder}" in caplog.text

    server.start()
    server.wait()
    count, sent_to = send(folder)
    assert count > 0
    assert sent_to == run_id
    assert metrics(server, run_id) == once("loss", "rate", steps=last)
    assert MlflowClient(server.uri).get_run(run_id).info.status == "KILLED"
    assert send(folder) == (0, run_id)


def test_a_lost_folder_is_made_up_for_by_asking(server: Server, tmp_path: Path) -> None:
    server.wait()
    with Run.start(TrackingConfig(uri=server.uri), "old", folder=tmp_path / "lost") as old:
        for step in range(10):
            old.log_metrics({"loss": 1.0}, step)
    with Run.start(TrackingConfig(uri=server.uri), "old", run_id=old.id, folder=tmp_path / "new") as new:
        for step in range(5, 15):
            new.log_metrics({"loss": 2.0}, step)
    assert new.id == old.id
    assert metrics(server, old.id) == once("loss", steps=15)


@pytest.mark.faults
def test_killed_at_random_moments(server: Server, tmp_path: Path) -> None:
    """Twenty kills of the job, a few of the server; each start goes on some steps before the last one's end."""
    draw, folder, first, run_ids = random.Random(7), tmp_path / "run", 0, set()
    server.wait()
    for number in range(20):
        if number % 5 == 4:
            server.kill()
        command = [sys.executable, "-c", KILLED, server.uri, str(folder), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
            assert job.stdout is not None
            run_ids.add(job.stdout.readline().strip())
            time.sleep(draw.random())
            job.send_signal(signal.SIGKILL)
        if number % 5 == 4:
            server.start()
            server.wait()
        first += draw.randrange(40)  # of the 50 steps that each start does at least
    _, run_id = send(folder)
    assert run_ids == {run_id}
    found = metrics(server, run_id)
    assert found == once("loss", "rate", steps=1 + max(step for _, step, _ in found))

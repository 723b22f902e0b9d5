"""`mrigan doctor`: it finds what is wrong, says what to do, and leaves nothing behind."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from mrigan.doctor import Finding, Level, machine, ranks, storage
from mrigan.doctor.machine import check_limits
from mrigan.doctor.ranks import check_ranks
from mrigan.doctor.software import check_optional, check_versions
from mrigan.doctor.storage import check_folder, check_shards
from mrigan.doctor.store import check_tracking
from tests.conftest import ROOT
from tests.packing.conftest import Built, built, copy
from tests.tracking.stores import new_store

__all__ = ["built", "copy"]


def levels(findings: list[Finding]) -> dict[str, Level]:
    return {finding.check: finding.level for finding in findings}


def one(findings: list[Finding], level: Level) -> Finding:
    """The only finding of that level."""
    found = [finding for finding in findings if finding.level is level]
    assert len(found) == 1, findings
    return found[0]


def doctor(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mrigan.cli", "doctor", *(str(word) for word in words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=240)


def test_a_machine_that_can_train(built: Built, tmp_path: Path) -> None:
    """The command itself: ranks are really started. Nothing is left in the folder."""
    done = doctor(
        "gan/cpu-smoke.yaml", f"data.shards={built.folder}", f"run.dir={tmp_path}/runs/x", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["ok"] is True
    found = {finding["check"]: finding for finding in said["findings"]}
    assert {"packages", "cpu", "/dev/shm", "ulimit -n", "gloo", "disk space", "disk speed", "file locks", "shards",
            "mlflow", "dali", "deepspeed", "ray"} <= set(found)  # fmt: skip
    assert found["gloo"]["found"].startswith("2 ranks all-reduce, ")
    assert "train" in found["shards"]["found"]
    assert all(finding["fix"] for finding in said["findings"] if finding["level"] in ("warning", "problem"))
    assert list(tmp_path.iterdir()) == []


def test_what_would_stop_a_training_is_an_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from mrigan.cli.app import app

    monkeypatch.setattr("mrigan.doctor.check_ranks", lambda: iter([]))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["doctor", "--shards", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "PROBLEM shards" in result.output
    assert "no such shard folder" in result.output
    assert "→" in result.output
    assert "1 problem: training would fail" in result.output
    result = CliRunner().invoke(app, ["doctor", "--json", "--shards", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["ok"] is False


def test_wrong_config(tmp_path: Path) -> None:
    done = doctor("detector/face.yaml", "train.stepz=1", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean train.steps?" in done.stderr


def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(list(check_versions()), Level.OK).check == "packages"
    wanted = ["numpy>=99", "no-such-package", "numpy>=1", "deepspeed>=99; extra == 'deepspeed'"]
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    wrong = one(list(check_versions()), Level.PROBLEM)
    assert wrong.found == f"numpy is {metadata.version('numpy')}, but >=99 is required; no-such-package is missing"


def test_extras_are_missed_by_those_who_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrigan.doctor.software.find_spec", lambda name: None)
    assert set(levels(list(check_optional())).values()) == {Level.NOTE}
    found = levels(list(check_optional(frozenset({"deepspeed"}))))
    assert found == {"dali": Level.NOTE, "deepspeed": Level.PROBLEM, "ray": Level.NOTE}


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {resource.RLIMIT_NOFILE: (1024, 8192), resource.RLIMIT_MEMLOCK: (65536, 65536)}
    monkeypatch.setattr(resource, "getrlimit", lambda what: few[what])
    monkeypatch.setattr(Path, "exists", lambda path: True)  # /dev/infiniband
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: (64 << 20, 0, 64 << 20))  # Docker's default
    found = {finding.check: finding for finding in check_limits()}
    assert found["ulimit -n"].fix == "ulimit -n 8192"
    assert found["ulimit -l"].level is Level.WARNING
    assert found["/dev/shm"].level is Level.PROBLEM
    assert "--shm-size" in found["/dev/shm"].fix


def test_ranks_that_cannot_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "no-such-interface")
    wrong = one(list(check_ranks()), Level.PROBLEM)
    assert wrong.check == "gloo"
    assert "2 processes failed" in wrong.found
    assert "GLOO_SOCKET_IFNAME" in wrong.fix


def test_a_wrong_sum_is_a_problem() -> None:
    assert ranks._judge("nccl", {"ranks": 8, "correct": False, "rate": 100.0}).level is Level.PROBLEM


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: usage._replace(free=1 << 30))
    wrong = one(list(check_folder(tmp_path)), Level.PROBLEM)
    assert wrong.found == f"{tmp_path}: 1.0 GiB free"


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert "not a folder" in one(list(check_folder(tmp_path / "file" / "run")), Level.PROBLEM).found

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: usage)  # that of /proc is 0
    wrong = one(list(check_folder(Path("/proc/sys"))), Level.PROBLEM)
    assert wrong.found.startswith("/proc/sys cannot be written")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(storage.fcntl, "lockf", refused)
    wrong = one(list(check_folder(tmp_path)), Level.PROBLEM)
    assert (wrong.check, "nolock" in wrong.fix) == ("file locks", True)
    assert list(tmp_path.iterdir()) == []


def test_damaged_shards(copy: Callable[[], Path]) -> None:
    folder = copy()
    assert one(list(check_shards(str(folder), ("train", "val"))), Level.OK).check == "shards"
    tar = max(folder.glob("train-*.tar"), key=lambda path: path.stat().st_size)
    data = bytearray(tar.read_bytes())
    data[600] ^= 1  # in the first picture
    tar.write_bytes(data)
    wrong = one(list(check_shards(str(folder), ("train", "val"))), Level.PROBLEM)
    assert tar.name in wrong.found
    assert "mrigan shards verify" in wrong.fix


def test_shards_of_the_wrong_kind_or_without_a_split(built: Built) -> None:
    assert one(list(check_shards(str(built.folder), ("train", "elsewhere"))), Level.PROBLEM)
    assert one(list(check_shards("s3://bucket/shards", ("train", "val"))), Level.NOTE)


def test_mlflow_in_a_file(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert "will be created" in one(list(check_tracking(uri)), Level.OK).found
    assert list(tmp_path.iterdir()) == []
    new_store(tmp_path / "mlflow.db")
    assert "can be written" in one(list(check_tracking(uri)), Level.OK).found


def test_mlflow_in_a_file_that_is_locked_or_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = new_store(tmp_path / "mlflow.db")
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: real(path, **{**options, "timeout": 0.0}))
    holder = real(tmp_path / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert "database is locked" in one(list(check_tracking(uri)), Level.WARNING).found
    finally:
        holder.close()
    (tmp_path / "mlflow.db").write_text("no database")
    assert "file is not a database" in one(list(check_tracking(uri)), Level.WARNING).found


def test_an_mlflow_server_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    found = one(list(check_tracking("http://127.0.0.1:9")), Level.WARNING)
    assert "Training would keep its log entries" in found.fix


@pytest.mark.parametrize("words", [["--help"], ["doctor", "--help"]])
def test_help_is_light(words: list[str], tmp_path: Path) -> None:
    code = f"""
import sys; sys.argv[1:] = {words!r}
import mrigan.cli
try: mrigan.cli.main()
except SystemExit: pass
assert 'torch' not in sys.modules and 'mlflow' not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "doctor" in done.stdout

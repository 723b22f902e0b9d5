"""A set at a URL: sent whole, marker last; killed and started again, the same bytes. Over FTP, by real processes."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mrigan.errors import ConfigError, ShardError
from mrigan.packing import WorkerPool, build_shards, build_slice, dispatch, plan_shards, verify_shards
from mrigan.packing.journal import BUILT, UnitReport
from mrigan.packing.open_store import planned
from mrigan.packing.store import ShardStore
from mrigan.packing.unit import UnitTask
from mrigan.packing.watch import Watch
from mrigan.storage import Storage
from mrigan.workers.pool import Died, Done
from tests.packing.conftest import PNG, Built, config, tree
from tests.packing.processes import alive, files, gone, start, wait_for, workers


@pytest.fixture
def served(tmp_path: Path) -> Path:
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


@pytest.fixture
def url(served: Path) -> Iterator[str]:
    """Where an FTP server shows the folder `served`."""
    command = [sys.executable, "-m", "tests.packing.ftp_server", str(served)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"ftp://127.0.0.1:{server.stdout.readline().strip()}/sets/one"
        server.terminate()


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def plan(built: Built, url: str) -> None:
    with planned(built.catalog, config(*PNG), url) as plan:
        assert len(plan.units) == 6


def test_a_set_at_a_url_has_the_same_bytes(built: Built, url: str, served: Path, scratch: Path) -> None:
    with pytest.raises(ShardError, match="no shard plan"):
        build_shards(url, scratch=scratch)
    plan(built, url)
    part = build_slice(url, 1, 2, pool=WorkerPool(workers=1), scratch=scratch)
    assert (part.units, part.built) == (3, 3)
    assert not (served / "sets" / "one" / "manifest.json").exists()
    done = start(url, "--workers", 2, "--scratch", scratch)
    said, _ = done.communicate()
    assert done.returncode == 0
    assert "65 faces stored" in said
    assert tree(served / "sets" / "one") == tree(built.folder)
    assert list(scratch.iterdir()) == []
    plan(built, url)  # the same plan again is welcome
    with pytest.raises(ShardError, match="another plan"), planned(built.catalog, config(), url):
        pass
    assert verify_shards(served / "sets" / "one") == []


def test_what_is_there_and_whole_is_kept(built: Built, url: str, served: Path, scratch: Path) -> None:
    plan(built, url)
    folder = served / "sets" / "one"
    for path in built.folder.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(built.folder)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(built.folder)).write_bytes(path.read_bytes())
    (folder / "manifest.json").unlink()
    (folder / "train-fake-000000.tar").write_bytes(b"half")
    (folder / "val-real-000000.idx").unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.tar")}
    summary = build_shards(url, workers=1, scratch=scratch)
    assert 0 < summary.built < summary.stored
    assert tree(folder) == tree(built.folder)
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {path.name for path in before if "-000000" in path.name}  # of both units, all shards


def kill_often(built: Built, url: str, served: Path, scratch: Path, kills: int) -> None:
    plan(built, url)
    draw = random.Random(kills)
    for moment in sorted(draw.sample(range(4, len(tree(built.folder))), kills)):
        process = start(url, "--workers", 2, "--scratch", scratch)
        wait_for(process, lambda moment=moment: files(served) >= moment)  # type: ignore[misc]
        crew = workers(process.pid)
        for pid in draw.choice([[process.pid], [process.pid, *crew]]):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        process.communicate()
        gone(crew)
    build_shards(url, workers=2, scratch=scratch)
    assert tree(served / "sets" / "one") == tree(built.folder)
    assert list(scratch.iterdir()) == []


@pytest.mark.faults
def test_killed_senders_end_in_the_same_bytes(built: Built, url: str, served: Path, scratch: Path) -> None:
    kill_often(built, url, served, scratch, kills=5)


def test_a_place_that_cannot_be_is_said(built: Built, scratch: Path) -> None:
    for wrong, why in (("memory://set", "memory"), ("nope://set", "nope"), ("s3://bucket/set", "s3fs")):
        with pytest.raises(ConfigError, match=why):
            build_shards(wrong, scratch=scratch)


def test_nobody_there_is_said(built: Built, scratch: Path) -> None:
    for url in ("ftp://127.0.0.1:1/set", "http://127.0.0.1:1/set"):
        with pytest.raises(ShardError, match="cannot be reached"):
            build_shards(url, scratch=scratch)
        with pytest.raises(ShardError, match="cannot be reached"), planned(built.catalog, config(), url):
            pass
        with pytest.raises(ShardError, match="cannot be reached"):
            Watch(url)
    assert not list(scratch.iterdir())


def test_a_server_that_fails_once_costs_a_try_and_not_the_build(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's error says that another try may succeed; it arrives as it left the worker."""
    store = ShardStore(plan_shards(built.catalog, config(*PNG), tmp_path / "set"))
    (task, *_) = (UnitTask(unit) for unit in store.plan.units)
    with pytest.raises(ShardError) as caught:
        Storage("ftp://127.0.0.1:1/set")
    died = Died(task, "", None, pickle.loads(pickle.dumps(caught.value)), again=True)
    report = UnitReport(task.name, BUILT)
    monkeypatch.setattr(dispatch, "run_tasks", lambda *_, **__: iter([died, Done(task, report)]))
    assert dispatch.make_units(store, [task.unit], WorkerPool(workers=1)).made == [report]


def test_a_file_url_is_a_folder(built: Built, tmp_path: Path) -> None:
    with planned(built.catalog, config("pack.splits=[val]"), f"file://{tmp_path}/set"):
        pass
    assert build_shards(f"file://{tmp_path}/set", workers=1).units == 1
    assert verify_shards(tmp_path / "set") == []


def test_an_object_store_gets_whole_objects_without_a_rename(tmp_path: Path) -> None:
    """fsspec's own one, which lives in this process."""
    store = Storage("memory://bucket/set/")
    (tmp_path / "a").write_bytes(b"12345")
    store.put(tmp_path / "a", "units/a.json")
    store.put(tmp_path / "a", "b.tar")
    assert store.sizes() == {"b.tar": 5}
    assert store.sizes("units") == {"units/a.json": 5}
    assert store.sizes("nowhere") == {}
    assert store.read(["units/a.json", "b.tar", "log/d.json"]) == {"units/a.json": b"12345", "b.tar": b"12345"}
    store.get("b.tar", tmp_path / "new" / "b.tar")
    assert (tmp_path / "new" / "b.tar").read_bytes() == b"12345"

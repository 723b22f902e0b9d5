"""Builds that are killed or stopped, and disks that fill up: started again, a set is byte for byte the same."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mrigan.errors import ShardError
from mrigan.packing import build_shards, plan_shards, verify_shards
from mrigan.shardset.layout import Layout
from mrigan.shardset.leftovers import leftovers
from tests.packing.conftest import PNG, Built, config, tree
from tests.packing.processes import files, gone, start, wait_for, workers


def kill_at(folder: Path, moment: int, whom: str) -> None:
    """Start a build and SIGKILL it, or all its processes, as soon as the folder holds so many files."""
    process = start(folder)
    wait_for(process, lambda: files(folder) >= moment)
    crew = workers(process.pid)
    for pid in {"parent": [process.pid], "all": [process.pid, *crew]}[whom]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate()
    gone(crew)


@pytest.mark.parametrize(("whom", "moment"), [("parent", 12), pytest.param("all", 20, marks=pytest.mark.faults)])
def test_a_killed_build_ends_in_the_same_bytes(built: Built, tmp_path: Path, whom: str, moment: int) -> None:
    """Its workers end with it; `test_kills_at_each_write` has all the moments."""
    folder = tmp_path / "shards"
    plan_shards(built.catalog, config(*PNG), folder)
    kill_at(folder, moment, whom)
    build_shards(folder, workers=2)
    assert tree(folder) == tree(built.folder)
    assert not leftovers(Layout(folder))


@pytest.mark.faults
def test_two_builders_at_once_do_no_harm(built: Built, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    plan_shards(built.catalog, config(*PNG), folder)
    for process in [start(folder), start(folder)]:
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert tree(folder) == tree(built.folder)
    assert not leftovers(Layout(folder))


def test_a_signal_stops_cleanly(built: Built, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    plan_shards(built.catalog, config(*PNG), folder)
    process = start(folder)
    wait_for(process, lambda: any(folder.glob("faces/*.parquet")))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 75, said
    assert "stopped by SIGINT" in said
    assert not leftovers(Layout(folder))
    assert not workers(process.pid)
    build_shards(folder, workers=2)
    assert tree(folder) == tree(built.folder)


def test_a_killed_worker_costs_one_more_try(built: Built, tmp_path: Path) -> None:
    """The build goes on, and says nothing worse."""
    folder = tmp_path / "shards"
    plan_shards(built.catalog, config(*PNG), folder)
    process = start(folder)
    wait_for(process, lambda: any(folder.glob("faces/*.parquet")))
    os.kill(workers(process.pid)[-1], signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert tree(folder) == tree(built.folder)


def test_a_full_disk_stops_the_build_and_keeps_what_is_whole(built: Built, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    plan_shards(built.catalog, config(*PNG), folder)
    most = 300_000  # bytes a file: enough for the detections, not for every shard

    process = start(folder, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    _, said = process.communicate()
    assert process.returncode == 1, said
    assert "no room left" in said
    assert "Traceback" not in said
    assert not leftovers(Layout(folder))
    for path in folder.glob("*.tar"):
        assert path.read_bytes() == (built.folder / path.name).read_bytes()
    build_shards(folder, workers=2)
    assert tree(folder) == tree(built.folder)


def test_a_lost_shard_is_made_again(built: Built, copy: Callable[[], Path]) -> None:
    folder = copy()
    (folder / "train-fake-000001.tar").unlink()
    (folder / "units" / "train-000003.parquet").unlink()
    summary = build_shards(folder, workers=1)
    assert 0 < summary.built < summary.stored
    assert tree(folder) == tree(built.folder)
    assert verify_shards(folder) == []


def test_a_unit_that_always_kills_its_worker_is_named(built: Built, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    plan_shards(built.catalog, config(*PNG), folder)
    stopped = threading.Event()

    def hunt() -> None:  # every worker of this process dies as soon as it is there
        while not stopped.wait(0.005):
            for pid in workers(os.getpid()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        with pytest.raises(ShardError) as error:
            build_shards(folder, workers=1)
    finally:
        stopped.set()
        hunter.join()
    assert "6 of 6 units could not be built" in error.value.what
    assert "SIGKILL" in error.value.what
    assert not (folder / "manifest.json").exists()
    build_shards(folder, workers=2)
    assert tree(folder) == tree(built.folder)

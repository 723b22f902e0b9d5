"""Units over a real Ray cluster of two nodes: the same bytes, even when one node is lost in the middle."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mrigan.errors import ConfigError
from mrigan.packing import WorkerPool, build_shards, plan_shards
from mrigan.shardset.layout import Layout
from mrigan.shardset.leftovers import leftovers
from mrigan.workers.pool import Busy, Died, Done
from mrigan.workers.ray_pool import ray_session, run_on_ray
from tests.packing.conftest import PNG, Built, config, tree
from tests.packing.processes import start, wait_for
from tests.packing.ray_cluster import is_working, kill_node, two_nodes
from tests.workers.toys import setup


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as nodes:
        yield nodes


def over(cluster: Any) -> list[str]:
    return ["--distributor", "ray", "--ray-address", str(cluster.address)]


def test_two_nodes_make_the_same_bytes(cluster: Any, built: Built, tmp_path: Path) -> None:
    plan_shards(built.catalog, config(*PNG), tmp_path / "shards")
    process = start(tmp_path / "shards", *over(cluster))
    done, said = process.communicate()
    assert process.returncode == 0, said
    assert "65 faces stored" in done
    assert said.count(": 7 reals, 7 fakes, 0 dropped") == 1
    assert tree(tmp_path / "shards") == tree(built.folder)


def test_without_ray_or_a_cluster_it_is_said_what_to_do(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_shards(built.catalog, config(*PNG), tmp_path / "shards")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1"):
        build_shards(tmp_path / "shards", pool=WorkerPool("ray", ray_address="127.0.0.1:1"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"mrigan\[ray\]"):
        build_shards(tmp_path / "shards", pool=WorkerPool("ray"))
    with pytest.raises(ConfigError, match="pool, ray"):
        build_shards(tmp_path / "shards", pool=WorkerPool("dask"))


@pytest.mark.faults
def test_a_task_that_kills_its_worker_is_tried_again_and_then_given_back(cluster: Any, tmp_path: Path) -> None:
    tasks = [("work", 0), ("die", 1), ("die once", 2), ("raise", 3), ("work", 4)]
    with ray_session(cluster.address):
        events = list(run_on_ray(setup, (tmp_path,), tasks))
    assert {e.task for e in events if isinstance(e, Done)} == {("work", 0), ("die once", 2), ("work", 4)}
    assert Counter(e.task for e in events if isinstance(e, Died) and e.again) == dict.fromkeys(tasks[1:4], 1)
    final = {e.task: e for e in events if isinstance(e, Died) and not e.again}
    assert final.keys() == {("die", 1), ("raise", 3)}
    assert final["die", 1].reason.startswith("WorkerCrashedError")
    assert final["die", 1].note == "about to die"
    error = final["raise", 3].error
    assert isinstance(error, OSError)
    assert error.errno == 28
    assert "toys.py" in "".join(error.__notes__)
    assert {e.task for e in events if isinstance(e, Busy)} == set(tasks)


@pytest.mark.faults
def test_a_task_that_hangs_at_a_file_is_ended(cluster: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ray_session(cluster.address):
        events = list(run_on_ray(setup, (tmp_path,), [("read", 0), ("work", 1)], seconds_per_file=2))
    assert [e.task for e in events if isinstance(e, Done)] == [("work", 1)]
    (died,) = (e for e in events if isinstance(e, Died))
    assert died.late is not None
    assert (died.task, died.again, died.late.file) == (("read", 0), False, str(tmp_path / "pipe"))
    assert (tmp_path / "read-0").read_bytes() == b"x"


@pytest.mark.faults
def test_a_signal_stops_cleanly(cluster: Any, built: Built, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    plan_shards(built.catalog, config(*PNG), folder)
    process = start(folder, *over(cluster))
    wait_for(process, lambda: any(folder.glob("faces/*.parquet")))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 75, said
    assert "stopped by SIGTERM" in said
    assert not leftovers(Layout(folder))
    build_shards(folder, workers=2)
    assert tree(folder) == tree(built.folder)


@pytest.mark.faults
def test_a_node_that_is_lost_takes_no_unit_along(built: Built, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    plan_shards(built.catalog, config(*PNG), folder)
    with two_nodes() as cluster:
        (node,) = cluster.worker_nodes
        process = start(folder, *over(cluster))
        wait_for(process, lambda: is_working(node))
        kill_node(cluster, node)
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert "NodeDiedError" in said
    assert "it is tried again" in said
    assert tree(folder) == tree(built.folder)

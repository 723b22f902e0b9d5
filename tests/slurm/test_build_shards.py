"""The job array that builds shards, on a real Slurm: the same bytes, whatever is preempted or runs out of time."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mrigan.packing import plan_shards
from mrigan.shardset.layout import Layout
from mrigan.shardset.leftovers import leftovers
from tests.packing.conftest import PNG, Built, built, config, tree  # noqa: F401 (built is a fixture)
from tests.slurm.cluster import Cluster, Job

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

SCRIPT = "slurm/build_shards.sbatch"


@pytest.fixture
def shards(built: Built, tmp_path: Path) -> Path:  # noqa: F811
    """A planned folder of six units."""
    plan_shards(built.catalog, config(*PNG), tmp_path / "shards")
    return tmp_path / "shards"


def submit(cluster: Cluster, shards: Path, *words: str) -> Callable[[int], Job]:
    """Submit the array; gives its tasks."""
    log = shards.parent / "%a.log"
    array = cluster.submit(log, "--cpus-per-task=9", "--mem-per-cpu=1G", *words, SCRIPT, shards)  # one task a node
    return lambda task: cluster.job(f"{array.id}_{task}", shards.parent / f"{task}.log")


def finish(cluster: Cluster, shards: Path, after: Job) -> Job:
    """The dependent job: what the tasks left, then the manifest."""
    job = after.id.split("_")[0]
    return cluster.submit(shards.parent / "finish.log", f"--dependency=afterany:{job}", SCRIPT, shards)


def test_an_array_with_a_preempted_task_makes_the_same_bytes(cluster: Cluster, built: Built, shards: Path) -> None:  # noqa: F811
    task = submit(cluster, shards, "--array=0-2")
    last = finish(cluster, shards, task(0))
    first = task(0)
    first.until(lambda: any(shards.glob("faces/*.parquet")), "a unit at hand")
    first.requeue()  # what a preemption does
    first.until(lambda: first.about("Restarts") == "1", "a restart")
    last.wait()
    for i in range(3):
        assert task(i).state == "COMPLETED", task(i).log
        assert f"start 0 of job {task(i).id}" in task(i).log
    assert f"start 1 of job {first.id}" in first.log
    assert {word for i in range(3) for word in re.findall(r" on (n\d)\b", task(i).log)} == {"n1", "n2"}
    assert "65 faces stored" in last.log
    assert tree(shards) == tree(built.folder)
    assert not leftovers(Layout(shards))


def test_a_task_near_its_time_limit_goes_on_after_a_requeue(cluster: Cluster, built: Built, shards: Path) -> None:  # noqa: F811
    task = submit(cluster, shards, "--array=0-0")(0)
    task.until(lambda: any(shards.glob("faces/*.parquet")), "a unit at hand")
    task.signal("USR1")  # what --signal=B:USR1@120 sends
    task.wait()
    assert task.about("Restarts") == "1"
    assert "stopped by SIGTERM" in task.log
    assert "start 1 of job" in task.log
    assert not (shards / "manifest.json").exists()  # that is for the last job
    last = finish(cluster, shards, task)
    last.wait()
    assert tree(shards) == tree(built.folder)


def test_a_failure_is_the_jobs_and_endless_restarts_are_not(cluster: Cluster, built: Built, shards: Path) -> None:  # noqa: F811
    missing = cluster.submit(shards.parent / "missing.log", SCRIPT, shards.parent / "nowhere")
    task = submit(cluster, shards, "--array=0-0", "--export=ALL,MRIGAN_RESTARTS=0")(0)
    missing.wait("FAILED")
    assert "no shard plan" in missing.log
    task.until(lambda: any(shards.glob("faces/*.parquet")), "a unit at hand")
    task.signal("USR1")
    task.wait("FAILED")
    assert "does one unit take longer" in task.log
    assert task.about("Restarts") == "0"

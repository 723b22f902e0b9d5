"""slurm/train.sbatch with real trainings on two nodes: whatever happens to the job, the weights are those of a run that
nothing happened to, bit for bit. Dropout is on.
"""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from mrigan.engine.environment import first_host
from tests.slurm.cluster import Cluster, Job
from tests.training.runs import hashes, last_step, state, status, write_tiny_shards

pytestmark = pytest.mark.slurm

STEPS = 60  # of 8 samples; an epoch has 42
TWO_NODES = ["--nodes=2", "--gpus-per-node=1", "--cpus-per-task=1", "--time=10"]
SETTINGS = [f"train.steps={STEPS}", "checkpoint.every=10", "eval.every=30", "tracking.enabled=false", "data.workers=0"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("tiny") / "shards")


def submit(cluster: Cluster, shards: Path, run: Path, *more: str, options: tuple[str, ...] = ()) -> Job:
    words = ["slurm/train.sbatch", "gan", "configs/gan/cpu-smoke.yaml", f"data.shards={shards}", f"run.dir={run}"]
    return cluster.submit(run.with_suffix(".log"), *TWO_NODES, *options, *words, *SETTINGS, *more)


def wait_for_step(job: Job, run: Path, step: int) -> None:
    job.until(lambda: last_step(run) >= step, f"step {step}")


def going_on(job: Job) -> list[int]:
    """The steps that the job's starts went on from, in order."""
    return [int(step) for step in re.findall(r"continuing from \S+/step-(\d+)", job.log)]


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    job = submit(cluster, shards, run)
    job.wait()
    return run


def test_two_nodes_train_one_model(undisturbed: Path) -> None:
    assert status(undisturbed)["state"] == "finished"
    assert state(undisturbed, STEPS)["world_size"] == 2
    assert (undisturbed / "model" / "generator.safetensors").is_file()
    assert not list(undisturbed.parent.glob(".*"))  # neither stop file nor note


def test_preempted_during_import_and_in_the_middle_of_an_epoch(
    cluster: Cluster, shards: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    job = submit(cluster, shards, run)
    job.wait_log("rendezvous at")  # its ranks are not even importing: a signal alone would be lost
    job.signal("USR1")
    job.until(lambda: job.about("Restarts") == "1", "its requeue")
    assert (status(run)["state"], status(run)["step"]) == ("stopped", 1)

    wait_for_step(job, run, 22)
    job.signal("USR1")
    job.until(lambda: job.about("Restarts") == "2", "its second requeue")
    stopped = status(run)
    assert stopped["state"] == "stopped"
    assert state(run, stopped["step"])["sample"] not in (0, 42)  # inside an epoch
    job.wait()
    assert going_on(job) == [1, stopped["step"]]  # at the very step; and the log of all starts is there
    assert hashes(run, STEPS) == hashes(undisturbed, STEPS)
    assert not list(tmp_path.glob(".*"))


def test_requeued_by_the_administrator_then_a_rank_is_killed(
    cluster: Cluster, shards: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    job = submit(cluster, shards, run)
    wait_for_step(job, run, 12)
    job.requeue()  # as PreemptMode=REQUEUE does: TERM to all, also to the batch script, which is over then
    job.until(lambda: status(run)["state"] == "stopped", "its word")
    at = status(run)["step"]
    assert at % 10  # saved because of the signal, not in its turn

    wait_for_step(job, run, at + 15)
    assert job.about("Restarts") == "1"
    signal_rank_on(job, "n2", signal.SIGKILL)
    job.wait_log(r"ended with [1-9]\d*: again")
    job.wait()
    assert job.about("Restarts") == "1"  # on the same nodes: no place in the queue is lost
    first, second = going_on(job)
    assert first == at
    assert second > at
    assert second % 10 == 0  # its last checkpoint in turn
    assert hashes(run, STEPS) == hashes(undisturbed, STEPS)


def test_the_time_limit_comes_near(cluster: Cluster, shards: Path, tmp_path: Path) -> None:
    """Slurm itself sends the signal, as `--signal` asks: a minute's job saves, is requeued, and goes on from there."""
    run = tmp_path / "run"
    job = submit(cluster, shards, run, "train.steps=1000000", options=("--time=1", "--signal=B:USR1@30"))
    job.until(lambda: job.about("Restarts") == "1", "its requeue")
    stopped = status(run)
    assert stopped["state"] == "stopped"
    assert stopped["step"] == state(run, stopped["step"])["step"] > 0
    assert "train.sbatch: stop requested: saving" in job.log
    wait_for_step(job, run, stopped["step"] + 1)
    assert going_on(job) == [stopped["step"]]
    job.cancel()
    job.wait("CANCELLED")


def test_a_node_that_hangs_is_noticed_and_the_ranks_start_again(
    cluster: Cluster, shards: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    job = submit(cluster, shards, run, "health.stall_s=5")
    wait_for_step(job, run, 12)
    signal_rank_on(job, "n2", signal.SIGSTOP)
    job.wait_log(r"ended with [1-9]\d*: again")
    assert re.search(r"no progress for \d+ s: rank 1 on .* lags at step \d+", job.log)
    job.wait()
    assert going_on(job) == [10]
    assert hashes(run, STEPS) == hashes(undisturbed, STEPS)
    assert (run / "health" / "earlier-1" / "rank-00000.stacks.txt").is_file()


def signal_rank_on(job: Job, node: str, number: signal.Signals) -> None:
    """A signal to the ranks of one node, found by the environment that Slurm gave them."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        wanted = {f"SLURM_JOB_ID={job.id}".encode(), f"SLURMD_NODENAME={node}".encode()}
        if (
            wanted <= set(environment)
            and any(v.startswith(b"LOCAL_RANK=") for v in environment)
            and b"mrigan.launch.train" in words
        ):
            os.kill(int(folder.name), number)
            found += 1
    assert found, f"no rank of job {job.id} on {node}"


def test_srun_alone_starts_the_same_training(cluster: Cluster, shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    """No torchrun: ranks, address and port come from Slurm's environment; a bare `python` beside it is one process."""
    run = tmp_path / "run"
    python = cluster.environment["MRIGAN_PYTHON"]
    words = f"gan/cpu-smoke.yaml data.shards={shards} {' '.join(SETTINGS)}"
    script = f"""
        {python} launch/train_gan.py {words} run.dir={tmp_path}/alone train.steps=2
        srun --kill-on-bad-exit=1 {python} launch/train_gan.py {words} run.dir={run}
    """
    job = cluster.submit(tmp_path / "job.log", *TWO_NODES, "--ntasks-per-node=1", "--wrap", script)
    job.wait()
    assert state(tmp_path / "alone", 2)["world_size"] == 1
    assert state(run, STEPS)["world_size"] == 2
    assert hashes(run, STEPS) == hashes(undisturbed, STEPS)


def test_doctor_under_srun_adds_up_over_all_nodes(cluster: Cluster, tmp_path: Path) -> None:
    python = cluster.environment["MRIGAN_PYTHON"]
    script = f"srun {python} -m mrigan.cli doctor --dir {tmp_path} --json > {tmp_path}/found.json"
    job = cluster.submit(tmp_path / "job.log", *TWO_NODES, "--ntasks-per-node=1", "--wrap", script, cwd=tmp_path)
    job.wait()
    said = json.loads((tmp_path / "found.json").read_bytes())  # one report, not one a rank
    assert [f["found"].split(",")[0] for f in said["findings"] if f["check"] == "gloo"] == ["2 ranks all-reduce"]


@pytest.mark.parametrize("nodes", ["n1", "n[1-2]", "n[2-3]", "gpu[003-010,012],b1", "a,b[1-2]", "r[1-2]n[4,7]"])
def test_the_first_host_is_the_one_that_slurm_names(cluster: Cluster, nodes: str) -> None:
    assert first_host(nodes) == cluster.call("scontrol", "show", "hostnames", nodes, check=True).splitlines()[0]


def test_a_wrong_setting_is_not_tried_again(cluster: Cluster, shards: Path, tmp_path: Path) -> None:
    words = ["slurm/train.sbatch", "gan", "gan/cpu-smoke.yaml", f"data.shards={shards}", f"run.dir={tmp_path}/run"]
    job = cluster.submit(tmp_path / "job.log", "--cpus-per-task=1", *words, "train.stepz=3")
    job.wait("FAILED")
    assert job.about("ExitCode") == "1:0"
    assert "did you mean train.steps?" in job.log
    assert job.log.count("train.sbatch: start") == 1

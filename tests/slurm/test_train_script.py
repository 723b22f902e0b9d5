"""slurm/train.sbatch around a pretended training, which takes a moment: what it starts, requeues, and gives up."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.slurm.cluster import Cluster, Job

pytestmark = pytest.mark.slurm


class Pretended:
    """A `python` that does as `body` (bash) says where the agent of a node is to be started; $RUN is the run folder."""

    def __init__(self, cluster: Cluster, folder: Path, body: str) -> None:
        self.cluster, self.folder, self.run = cluster, folder, folder / "run"
        self.python = folder / "python"
        real = cluster.environment["MRIGAN_PYTHON"]
        says = 'says() { mkdir -p "$RUN"; echo "$1" >"$RUN/.status" && mv "$RUN/.status" "$RUN/status.json"; }'
        until = "until_asked() { until [[ -e $MRIGAN_STOP_FILE ]]; do sleep 0.05; done; }"
        self.python.write_text(
            f'#!/bin/bash\n[[ "$*" == *torch.distributed.run* ]] || exec {real} "$@"\n'
            f"RUN={self.run}\n{says}\n{until}\n{body}\n"
        )
        self.python.chmod(0o755)

    def submit(self, *options: str, log: str = "job.log") -> Job:
        words = [*options, "--cpus-per-task=1", "--time=5", "slurm/train.sbatch", "gan", "gan/cpu-smoke.yaml"]
        where = self.folder / log
        return self.cluster.submit(where, *words, f"run.dir={self.run}", MRIGAN_PYTHON=str(self.python))


def test_every_node_is_told_its_part(cluster: Cluster, tmp_path: Path) -> None:
    body = 'echo "node $SLURM_NODEID cpus $SRUN_CPUS_PER_TASK $*"; says "{\\"state\\": \\"finished\\"}"'
    pretended = Pretended(cluster, tmp_path, body)
    job = pretended.submit("--nodes=2", "--gpus-per-node=2")
    job.wait()
    lines = sorted(line for line in job.log.splitlines() if line.startswith("node "))
    assert len(lines) == 2
    port = 20_000 + int(job.id) % 10_000
    for number, line in enumerate(lines):
        assert line.startswith(f"node {number} cpus 1 -m torch.distributed.run --nnodes=2 --nproc-per-node=2 ")
        assert f"--rdzv-endpoint=n1:{port} --rdzv-id={job.id}.0.0 --rdzv-conf=is_host={1 - number}" in line
        assert f"--local-addr=n{number + 1} " in line
        assert line.endswith(f"-m mrigan.launch.train gan gan/cpu-smoke.yaml run.dir={pretended.run}")


def test_a_signal_does_not_kill_an_agent(cluster: Cluster, tmp_path: Path) -> None:
    """srun passes USR1 on to every node; the agent ignores it, and its ranks do until they have a handler."""
    body = 'until_asked; grep SigIgn /proc/$$/status; says "{\\"state\\": \\"finished\\"}"'
    job = Pretended(cluster, tmp_path, body).submit()
    job.wait_log("rendezvous at")
    job.signal("USR1")
    job.wait()
    assert job.about("Restarts") == "0"  # it was asked, but had finished
    ignored = re.search(r"SigIgn:\s*(\w+)", job.log)
    assert ignored
    assert int(ignored[1], 16) >> (10 - 1) & 1


def test_starts_on_the_same_nodes_are_few_without_progress(cluster: Cluster, tmp_path: Path) -> None:
    job = Pretended(cluster, tmp_path, 'says "{\\"state\\": \\"running\\", \\"step\\": 5}"; exit 1').submit()
    job.wait("FAILED")
    # The first saved up to step 5, and three more saved nothing further.
    assert job.log.count("train.sbatch: start") == 4
    assert "3 starts in a row saved no step after 5" in job.log


def test_requeues_are_few_without_progress(cluster: Cluster, tmp_path: Path) -> None:
    body = 'until_asked; says "{\\"state\\": \\"stopped\\", \\"step\\": 0}"; exit 1'
    job = Pretended(cluster, tmp_path, body).submit()
    for restart in range(3):
        job.wait_log(rf"start {job.id}\.{restart}\.0")
        job.signal("USR1")
        if restart < 2:
            job.until(lambda wanted=str(restart + 1): job.about("Restarts") == wanted, "its requeue")
    job.wait("FAILED")
    assert "3 starts in a row saved no step after 0" in job.log


def test_one_failing_node_ends_the_others(cluster: Cluster, tmp_path: Path) -> None:
    """Without --kill-on-bad-exit the first node would wait for the second until the time limit."""
    body = 'if [[ $SLURM_NODEID == 0 ]]; then exec sleep 600; fi; says "{\\"state\\": \\"failed\\"}"; exit 1'
    job = Pretended(cluster, tmp_path, body).submit("--nodes=2")
    job.wait("FAILED", patience=60)


def test_a_node_that_fails_is_a_requeue(cluster: Cluster, tmp_path: Path) -> None:
    """Slurm requeues by itself; the script's end is not reached, and its next start counts."""
    body = 'says "{\\"state\\": \\"running\\", \\"step\\": 0}"; [[ -n $SLURM_RESTART_COUNT ]] || exec sleep 600; '
    job = Pretended(cluster, tmp_path, f'{body} says "{{\\"state\\": \\"finished\\"}}"').submit()
    job.wait_log("rendezvous at")
    broken = job.about("BatchHost")
    try:
        cluster.call("scontrol", "update", f"nodename={broken}", "state=down", "reason=test", check=True)
        job.wait()
    finally:
        cluster.call("scontrol", "update", f"nodename={broken}", "state=resume")
    assert job.about("Restarts") == "1"
    assert f"start {job.id}.1.0" in job.log


def test_a_task_of_an_array_requeues_itself_alone(cluster: Cluster, tmp_path: Path) -> None:
    """The last task's SLURM_JOB_ID is the id of the array: requeued by it, all tasks would start again."""
    body = """
        RUN=$RUN-$SLURM_ARRAY_TASK_ID
        says "{\\"state\\": \\"running\\", \\"step\\": 1}"
        if [[ $SLURM_ARRAY_TASK_ID == 2 && -z $SLURM_RESTART_COUNT ]]; then
            until_asked; says "{\\"state\\": \\"stopped\\", \\"step\\": 2}"; exit 1
        fi
        until [[ -e $RUN/go ]]; do sleep 0.05; done
        says "{\\"state\\": \\"finished\\", \\"step\\": 3}"
    """
    pretended = Pretended(cluster, tmp_path, body)
    words = ["--array=1-2", "--cpus-per-task=1", "--time=5"]
    script = 'exec bash slurm/train.sbatch gan gan/cpu-smoke.yaml "run.dir=$RUN-$SLURM_ARRAY_TASK_ID"'
    array = cluster.submit(
        tmp_path / "log-%a", *words, "--requeue", "--open-mode=append", "--wrap", script,
        MRIGAN_PYTHON=str(pretended.python), RUN=str(pretended.run),
    )  # fmt: skip
    first, last = (cluster.job(f"{array.id}_{task}", tmp_path / f"log-{task}") for task in (1, 2))
    for job in (first, last):
        job.wait_log("rendezvous at")
    last.signal("USR1")
    last.until(lambda: last.about("Restarts") == "1" and last.state == "RUNNING", "its requeue")
    assert first.about("Restarts") == "0"
    assert first.state == "RUNNING"
    for task in (1, 2):
        (tmp_path / f"run-{task}" / "go").touch()
    first.wait()
    last.wait()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "usage: sbatch"),
        (["gam", "gan/paper.yaml"], "usage: sbatch"),
        (["gan", "gan/paper.yaml", "data.shards=x"], "run.dir=DIR is required"),
        (["gan", "gan/paper.yaml", "run.dir=x", "--new"], "--new would start a new run after every requeue"),
    ],
)
def test_wrong_words(words: list[str], says: str) -> None:
    command = ["bash", "slurm/train.sbatch", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert says in done.stderr

"""slurm/local-cluster: it runs jobs, two live side by side, and cleaning leaves the machine as it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.slurm.cluster import LOCAL_CLUSTER, Cluster

pytestmark = pytest.mark.slurm


def local_cluster(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in (LOCAL_CLUSTER, *words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_job_sees_two_nodes_and_their_gpus(cluster: Cluster, tmp_path: Path) -> None:
    script = 'srun bash -c "echo $SLURM_JOB_ID \\$SLURM_PROCID \\$SLURMD_NODENAME gpu \\$CUDA_VISIBLE_DEVICES"'
    words = ["--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=2", "--wrap", script]
    job = cluster.submit(tmp_path / "job.log", *words)
    job.wait()
    assert sorted(job.log.splitlines()) == [f"{job.id} 0 n1 gpu 0,1", f"{job.id} 1 n2 gpu 0,1"]


def test_gpus_are_counted(cluster: Cluster, tmp_path: Path) -> None:
    """What is busy is waited for; what no node has is refused."""
    wait = ["--nodelist=n1", "--wrap", "sleep 600"]
    first = cluster.submit(tmp_path / "a.log", "--gpus-per-node=1", *wait)
    second = cluster.submit(tmp_path / "b.log", "--gpus-per-node=2", *wait)
    first.until(lambda: first.state == "RUNNING", "its start")
    second.until(lambda: second.about("Reason") in ("Resources", "Priority"), "waiting for GPUs")
    first.cancel()
    second.until(lambda: second.state == "RUNNING", "its start")
    assert cluster.call("sbatch", "--gpus-per-node=3", "--wrap", "true") == ""


def test_a_second_cluster_beside_it_leaves_no_trace(cluster: Cluster, tmp_path: Path) -> None:
    hosts = Path("/etc/hosts").read_bytes()
    folder = Path(f"/tmp/mrigan-second-{os.getpid()}")
    started = local_cluster("start", "--dir", folder, "--nodes", 1, "--gpus", 0)
    try:
        assert started.stdout == f"export SLURM_CONF={folder}/slurm.conf\n", started.stderr
        assert local_cluster("start", "--dir", folder).stdout == started.stdout  # it is up: nothing to do
        second = Cluster(folder)
        job = second.submit(tmp_path / "job.log", "--wrap", "sleep 600")
        job.until(lambda: job.state == "RUNNING", "its start")
        assert job.id not in cluster.queue()
        steps = subprocess.run(["pgrep", "-f", f"slurmstepd: \\[{job.id}"], capture_output=True, text=True, check=False)
        assert steps.stdout
        assert local_cluster("status", "--dir", folder).returncode == 0

        assert local_cluster("stop", "--dir", folder).returncode == 0
        assert local_cluster("status", "--dir", folder).returncode == 1
        assert not [pid for pid in steps.stdout.split() if _alive(pid)]
        assert local_cluster("start", "--dir", folder).returncode == 0  # from its state: ids go on
        later = second.submit(tmp_path / "later.log", "--wrap", "true")
        later.wait()
        assert int(later.id) > int(job.id)
    finally:
        cleaned = local_cluster("clean", "--dir", folder)
    assert cleaned.returncode == 0, cleaned.stderr
    assert not folder.exists()
    assert Path("/etc/hosts").read_bytes() == hosts
    assert not subprocess.run(["pgrep", "-f", f"{folder}/"], capture_output=True, text=True, check=False).stdout
    assert cluster.call("sinfo", "--noheader", "--format=%D") == "2"  # the other one is as it was


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # a zombie's is empty
    except OSError:
        return False


@pytest.mark.parametrize("folder", ["relative", "/tmp/with space", "/tmp/" + "x" * 80])
def test_folders_that_cannot_hold_it(folder: str) -> None:
    said = local_cluster("start", "--dir", folder)
    assert said.returncode == 1
    assert "absolute path" in said.stderr


def test_a_folder_of_something_else_is_left_alone(cluster: Cluster, tmp_path: Path) -> None:
    folder = Path(f"/tmp/mrigan-other-{os.getpid()}")
    folder.mkdir()
    try:
        (folder / "thesis.txt").write_text("all of it")
        assert "something else" in local_cluster("start", "--dir", folder).stderr
        local_cluster("clean", "--dir", folder)
        assert (folder / "thesis.txt").read_text() == "all of it"
    finally:
        (folder / "thesis.txt").unlink(missing_ok=True)
        folder.rmdir()

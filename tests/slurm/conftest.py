"""A Slurm cluster of two nodes, of the tests' own: in its folder, on its ports, gone afterwards.

def test_…(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.submit(tmp_path / "job.log", "--nodes=2", "slurm/train.sbatch", …)
    job.wait()
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import LOCAL_CLUSTER, Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes of 16 CPUs and 2 GPUs each, all pretended."""
    if os.geteuid() != 0:
        pytest.skip("Slurm's daemons need root: sudo make test-slurm")
    if shutil.which("slurmctld") is None:
        pytest.skip("Slurm is not installed here: sudo slurm/local-cluster install")
    folder = Path(tempfile.mkdtemp(prefix="mrigan-slurm-", dir="/tmp"))  # short: sockets lie in it
    words = [LOCAL_CLUSTER, "--dir", folder, "--nodes", "2", "--gpus", "2"]
    started = subprocess.run([*words, "start"], capture_output=True, text=True, check=False)
    try:
        assert started.returncode == 0, started.stderr
        yield Cluster(folder)
    finally:
        subprocess.run([*words, "clean"], check=True)


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails leaves no job behind that others would wait for."""
    yield
    if "cluster" in request.fixturenames:
        cluster: Cluster = request.getfixturevalue("cluster")
        for job in cluster.queue():
            cluster.call("scancel", job)

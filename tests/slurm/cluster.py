"""Jobs on the local cluster: submit, watch, wait. A wait that fails shows the job's log."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT

LOCAL_CLUSTER = ROOT / "slurm" / "local-cluster"
PATIENCE = 180.0  # seconds until something that does not happen is called hung
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL")


class Job:
    """A submitted job, or one task of an array (`id` = "12_3")."""

    def __init__(self, cluster: Cluster, id: str, log: Path) -> None:
        self.cluster, self.id, self._log = cluster, id, log

    @property
    def log(self) -> str:
        """What the job has said so far."""
        return self._log.read_text(errors="replace") if self._log.is_file() else "(no log yet)"

    def about(self, key: str) -> str:
        """A field of `scontrol show job`, "" when it is not there: JobState, Reason, Restarts, ExitCode, …"""
        text = self.cluster.call("scontrol", "show", "job", "-o", self.id)
        found = re.search(rf"(?:^|\s){key}=(\S*)", text)
        return found.group(1) if found else ""

    @property
    def state(self) -> str:
        """PENDING, RUNNING, COMPLETED, FAILED, …"""
        return self.about("JobState")

    def until(self, ready: Callable[[], bool], what: str, *, may_end: bool = False, patience: float = PATIENCE) -> None:
        """Poll until `ready()`.

        Args:
            what: for the message when it does not come.
            may_end: False = it also fails when the job ends first.
        """
        end = time.monotonic() + patience
        while not ready():
            state = self.state
            over = not may_end and state in ENDED and not ready()
            if over or time.monotonic() > end:
                raise AssertionError(
                    f"job {self.id} ({state}, {self.about('Reason')}): {what} did not come\n"
                    f"--- {self._log}\n{self.log[-6000:]}\n--- queue\n{self.cluster.call('squeue')}"
                )
            time.sleep(0.1)

    def wait(self, expected: str = "COMPLETED", patience: float = PATIENCE) -> None:
        """Until the job has ended; fails unless it ends as `expected`."""
        self.until(lambda: self.state in ENDED, "an end", may_end=True, patience=patience)
        assert self.state == expected, f"job {self.id} ended as {self.state}\n--- {self._log}\n{self.log[-6000:]}"

    def wait_log(self, pattern: str, patience: float = PATIENCE) -> None:
        """Until a line of the log matches."""
        self.until(lambda: re.search(pattern, self.log) is not None, f"{pattern!r} in its log", patience=patience)

    def signal(self, name: str = "USR1") -> None:
        """To the batch shell alone: at once what `--signal=B:USR1@300` does 300 s before the end."""
        self.cluster.call("scancel", "--batch", f"--signal={name}", self.id, check=True)

    def requeue(self) -> None:
        """As the administrator, or a preemption, does it."""
        self.cluster.call("scontrol", "requeue", self.id, check=True)

    def cancel(self) -> None:
        self.cluster.call("scancel", self.id, check=True)


class Cluster:
    """A running `slurm/local-cluster`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SBATCH"))}
        self.environment = {
            **kept,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "OMP_NUM_THREADS": "1",
            "MRIGAN_PYTHON": sys.executable,
        }

    def call(self, *words: str | Path, check: bool = False, cwd: Path = ROOT, **environment: str) -> str:
        """Run a command with this cluster's settings; its output."""
        done = subprocess.run(
            [str(word) for word in words],
            env={**self.environment, **environment},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        if check:
            assert done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"
        return done.stdout.strip()

    def submit(self, log: Path, *words: str | Path, cwd: Path = ROOT, **environment: str) -> Job:
        """`sbatch WORDS…`, from the root of the clone, as the README says it.

        Args:
            log: where the job's output goes.
            environment: more variables for it.
        """
        said = self.call("sbatch", "--parsable", f"--output={log}", *words, check=True, cwd=cwd, **environment)
        return Job(self, said.split(";")[0], log)

    def job(self, id: str, log: Path) -> Job:
        """A job that somebody else submitted, or a task of an array."""
        return Job(self, id, log)

    def queue(self) -> list[str]:
        """Ids of the jobs that have not ended."""
        return self.call("squeue", "--noheader", "--format=%i").split()

"""How many threads a process computes with, and what they do while they wait: settings for OpenMP, made before torch.

OpenMP's threads wait for each other by spinning. On a machine that does other work, too, a thread that spins takes the
core from the one that it waits for, and a training step takes many times as long. So the `mrigan` command and the pages
in `launch/` and `shards/` let threads sleep while they wait, and start no more of them than the process has cores.

Libraries read these settings when they are loaded, and child processes inherit them. `import mrigan` changes nothing: a
program of your own calls `settle()` before it imports torch, or sets the variables itself.
"""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

WAITING = {
    "OMP_WAIT_POLICY": "PASSIVE",  # of every OpenMP: sleep
    "GOMP_SPINCOUNT": "0",  # of GCC's, which torch brings
    "KMP_BLOCKTIME": "0",  # of Intel's and LLVM's, in ms
}
COUNT = "OMP_NUM_THREADS"
CPUS, CGROUPS, OWN = Path("/sys/devices/system/cpu"), Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def settle(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what is not set yet: waiting threads sleep, and their number is `cores()`, shared by a node's ranks.

    Has no effect on a library that is loaded already.
    """
    if not WAITING.keys() & environment.keys():  # else the user has decided how threads wait
        environment.update(WAITING)
    ranks = environment.get("LOCAL_WORLD_SIZE", "")
    environment.setdefault(COUNT, str(max(1, cores() // int(ranks)) if ranks.isdigit() and int(ranks) else cores()))


def cores() -> int:
    """Cores that this process may use, at least 1: by its affinity and its control groups' quota, not the machine's.

    Two hardware threads of one core count once, as torch counts them.
    """
    whole = len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})
    return max(1, math.ceil(min([whole, *_quotas()])))


def _siblings(cpu: int) -> str:
    """The hardware threads of the core that `cpu` is of, as the kernel lists them."""
    try:
        return (CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _quotas() -> list[float]:
    """CPUs that each control group around this process may use at a time, of those that limit it (version 2 and 1)."""
    found = []
    for line in _text(OWN).splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            root = CGROUPS
        elif "cpu" in controllers.split(","):
            root = CGROUPS / "cpu"
        else:
            continue
        for folder in (root, *(root / part for part in _steps(path))):
            found += _quota(folder)
    return found


def _steps(path: str) -> list[str]:
    parts = path.strip("/").split("/")
    return ["/".join(parts[: i + 1]) for i in range(len(parts)) if parts[i]]


def _quota(folder: Path) -> list[float]:
    limit, _, period = _text(folder / "cpu.max").strip().partition(" ")
    if not limit:
        limit, period = (_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return [int(limit) / int(period)] if limit.isdigit() and period.isdigit() and int(period) else []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

"""OpenMP settings: the number of threads, and that waiting threads sleep. Set before torch is imported.

By default OpenMP's threads spin while they wait for each other. On a loaded machine, a spinning thread takes the core
from the thread that it waits for, and a training step takes many times as long. Therefore the `mrigan` command and the
scripts in `launch/` and `shards/` let waiting threads sleep, and start at most one thread per core of the process.

Libraries read these settings when they are loaded, and child processes inherit them. `import mrigan` changes nothing:
your own program calls `settle()` before it imports torch, or sets the variables itself.
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
    """Set the variables that are not set: waiting threads sleep; their number is `cores()` divided by a node's ranks.

    Has no effect on libraries that are already loaded.
    """
    if not WAITING.keys() & environment.keys():  # else the user decided how threads wait
        environment.update(WAITING)
    ranks = environment.get("LOCAL_WORLD_SIZE", "")
    environment.setdefault(COUNT, str(max(1, cores() // int(ranks)) if ranks.isdigit() and int(ranks) else cores()))


def cores() -> int:
    """The cores that this process may use, at least 1, by its CPU affinity and the quota of its control groups.

    Two hardware threads of one core count once, as in torch.
    """
    whole = len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})
    return max(1, math.ceil(min([whole, *_quotas()])))


def _siblings(cpu: int) -> str:
    """The hardware threads of the core of `cpu`, as the kernel lists them."""
    try:
        return (CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _quotas() -> list[float]:
    """The CPU limits of the control groups (version 2 and 1) that contain this process."""
    quotas = []
    for line in _text(OWN).splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            root = CGROUPS
        elif "cpu" in controllers.split(","):
            root = CGROUPS / "cpu"
        else:
            continue
        for folder in (root, *(root / part for part in _steps(path))):
            quotas += _quota(folder)
    return quotas


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

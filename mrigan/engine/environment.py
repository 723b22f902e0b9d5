"""A process's rank, from the environment: the variables of torchrun, or those of Slurm's `srun`.

    torchrun --nproc-per-node 8 launch/train_gan.py …          RANK, WORLD_SIZE, … are set
    srun --ntasks-per-node 8 python launch/train_gan.py …      derived here from SLURM_PROCID and others
    python launch/train_gan.py …                               one process, also inside a batch script or `salloc`

This module does not import torch, so that it can be used before that import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping

from mrigan.errors import ConfigError

FIRST_PORT, PORTS = 20_000, 10_000  # below the ephemeral ports (from 32768), which clients may hold
PORTS_PER_STEP = 101  # of a job


def find_ranks(environment: MutableMapping[str, str]) -> None:
    """Add RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT for a task that `srun` started.

    Variables that are set do not change: torchrun under `srun` has set those of its workers.

    Raises:
        ConfigError: the options of `srun` hide the GPUs of a node from each other.
    """
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        for name, value in slurm_ranks(environment).items():
            environment.setdefault(name, value)


def slurm_ranks(environment: Mapping[str, str]) -> dict[str, str]:
    """torchrun's variables for a task of a Slurm step; {} outside a step, and in a step of one task.

    A batch script also has SLURM_PROCID=0 and SLURM_NTASKS, but is not a step: only SLURM_STEP_* show one.
    """
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if "SLURM_STEP_ID" not in environment or tasks == 1:
        return {}
    on_node = _per_node(environment["SLURM_STEP_TASKS_PER_NODE"])[int(environment["SLURM_NODEID"])]
    if "SLURM_GPUS_PER_TASK" in environment and on_node > 1:
        raise ConfigError(
            f"with --gpus-per-task, the {on_node} tasks on this node cannot use each other's GPUs",
            where="SLURM_GPUS_PER_TASK",
            fix="use --gpus-per-node, with as many tasks per node",
        )
    job, step = int(environment["SLURM_JOB_ID"]), int(environment["SLURM_STEP_ID"])
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(on_node),
        "MASTER_ADDR": first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(FIRST_PORT + (job + PORTS_PER_STEP * step) % PORTS),
    }


def first_host(nodes: str) -> str:
    """The first name of a Slurm host list: "gpu[03-07,12],cpu1" → "gpu03". Task 0 runs there."""
    bracket = r"\[([^\]]*)\]"
    first = re.match(rf"(?:[^,\[]|{bracket})*", nodes)
    return re.sub(bracket, lambda match: re.split("[,-]", match[1])[0], first[0] if first else nodes)


def _per_node(counts: str) -> list[int]:
    """Slurm's "2(x3),1" → [2, 2, 2, 1]."""
    groups = re.findall(r"(\d+)(?:\(x(\d+)\))?", counts)
    return [int(count) for count, times in groups for _ in range(int(times or 1))]

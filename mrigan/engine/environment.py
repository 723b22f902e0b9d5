"""A process's place among its peers, found from the environment: torchrun's own variables, or those of Slurm's `srun`.

    torchrun --nproc-per-node 8 launch/train_gan.py …          RANK, WORLD_SIZE, … are set
    srun --ntasks-per-node 8 python launch/train_gan.py …      found here, from SLURM_PROCID and its like
    python launch/train_gan.py …                               one process, also inside a batch script or `salloc`

Without torch, so that it can come before that import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping

from mrigan.errors import ConfigError

FIRST_PORT, PORTS = 20_000, 10_000  # below the ephemeral ones (32768 on), which a client may hold
STEP_STRIDE = 101  # ports between two steps of a job


def find_ranks(environment: MutableMapping[str, str]) -> None:
    """Add RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT for a task that `srun` started.

    What is set already stays: torchrun under `srun` has named its own workers.

    Raises:
        ConfigError: a launch that would hide the GPUs of a node from one another.
    """
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        for name, value in slurm_ranks(environment).items():
            environment.setdefault(name, value)


def slurm_ranks(environment: Mapping[str, str]) -> dict[str, str]:
    """torchrun's variables for a task of a Slurm step; {} where there is no step, or it has one task.

    A batch script has SLURM_PROCID=0 and SLURM_NTASKS, too, but is no step: only SLURM_STEP_* tell.
    """
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if "SLURM_STEP_ID" not in environment or tasks == 1:
        return {}
    on_node = _per_node(environment["SLURM_STEP_TASKS_PER_NODE"])[int(environment["SLURM_NODEID"])]
    if "SLURM_GPUS_PER_TASK" in environment and on_node > 1:
        raise ConfigError(
            f"srun was given --gpus-per-task, and {on_node} tasks on this node cannot reach one another's GPUs",
            where="SLURM_GPUS_PER_TASK",
            fix="use --gpus-per-node, with as many tasks a node",
        )
    job, step = int(environment["SLURM_JOB_ID"]), int(environment["SLURM_STEP_ID"])
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(on_node),
        "MASTER_ADDR": first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(FIRST_PORT + (job + STEP_STRIDE * step) % PORTS),
    }


def first_host(nodes: str) -> str:
    """The first name of a Slurm host list: "gpu[03-07,12],cpu1" → "gpu03". Task 0 runs there."""
    bracket = r"\[([^\]]*)\]"
    whole = re.match(rf"(?:[^,\[]|{bracket})*", nodes)
    return re.sub(bracket, lambda found: re.split("[,-]", found[1])[0], whole[0] if whole else nodes)


def _per_node(counts: str) -> list[int]:
    """Slurm's "2(x3),1" → [2, 2, 2, 1]."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", counts)
    return [int(count) for count, times in found for _ in range(int(times or 1))]

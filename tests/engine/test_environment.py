"""Ranks from Slurm's environment; the texts are what Slurm 22.05 gave on a cluster of two nodes."""

from __future__ import annotations

import pytest

from mrigan.engine.environment import find_ranks, first_host, slurm_ranks
from mrigan.errors import ConfigError

BATCH = {"SLURM_JOB_ID": "1351", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
         "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_TASKS_PER_NODE": "1(x2)"}  # fmt: skip
TASK = {**BATCH, "SLURM_NODEID": "1", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_STEP_ID": "2",
        "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}  # fmt: skip


def test_a_task_of_a_step() -> None:
    environment = dict(TASK)
    find_ranks(environment)
    added = {key: environment[key] for key in environment.keys() - TASK.keys()}
    assert added == {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "n1",
                     "MASTER_PORT": str(20_000 + 1351 + 2 * 101)}  # fmt: skip


def test_every_port_is_below_the_ephemeral_ones_and_no_two_steps_share_one() -> None:
    ports = {int(slurm_ranks({**TASK, "SLURM_STEP_ID": str(step), "SLURM_JOB_ID": "99999"})["MASTER_PORT"])
             for step in range(50)}  # fmt: skip
    assert len(ports) == 50
    assert all(20_000 <= port < 32_768 for port in ports)


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, "no Slurm"),
        (BATCH, "a batch script, which has SLURM_PROCID and SLURM_NTASKS as well"),
        ({**TASK, "SLURM_STEP_NUM_TASKS": "1"}, "srun --pty bash"),
        ({**TASK, "RANK": "0", "WORLD_SIZE": "8", "LOCAL_RANK": "0"}, "a worker of torchrun under srun"),
    ],
)
def test_others_are_left_alone(environment: dict[str, str], why: str) -> None:
    after = dict(environment)
    find_ranks(after)
    assert after == environment, why


def test_what_is_set_by_hand_stays() -> None:
    environment = {**TASK, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1234"}
    find_ranks(environment)
    assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("10.0.0.1", "1234")


def test_uneven_nodes() -> None:
    counts = [
        slurm_ranks({**TASK, "SLURM_STEP_TASKS_PER_NODE": "2(x3),1", "SLURM_NODEID": str(node)})["LOCAL_WORLD_SIZE"]
        for node in range(4)
    ]
    assert counts == ["2", "2", "2", "1"]


def test_hidden_gpus_are_refused() -> None:
    with pytest.raises(ConfigError, match="--gpus-per-node"):
        slurm_ranks({**TASK, "SLURM_GPUS_PER_TASK": "1"})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n[1-2]", "n1"),
        ("gpu[003-010,012],b1", "gpu003"),
        ("a,b[1-2]", "a"),
        ("r[1-2]n[4,7]", "r1n4"),
        ("n[7,9-10]-ib,n3", "n7-ib"),
    ],
)
def test_first_host(nodes: str, first: str) -> None:
    """Also compared with `scontrol show hostnames` itself: tests/slurm/test_srun.py."""
    assert first_host(nodes) == first

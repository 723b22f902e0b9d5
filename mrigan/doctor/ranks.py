"""Checks that ranks connect and all-reduce correctly, in real processes: gloo on CPUs, NCCL on GPUs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

from mrigan.doctor.ring import all_reduce
from mrigan.finding import Finding, ok, problem

TIMEOUT_S = 150
FIXES = {
    "gloo": "the host name must resolve (getent hosts $HOSTNAME); with several networks, set GLOO_SOCKET_IFNAME=eth0",
    "nccl": "NCCL_DEBUG=INFO prints details; NCCL_SOCKET_IFNAME, NCCL_IB_HCA select the network; /dev/shm must be big",
}


def check_ranks() -> Iterator[Finding]:
    """All-reduce among the ranks of the launcher, else among processes started here: two, and one per GPU.

    Every rank must call it.
    """
    import torch

    yield _host_name()
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for backend, count in (("gloo", 2), ("nccl", gpus)):
        if not count:
            continue
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            yield _here(backend)
        else:
            yield _started(backend, count)


def _here(backend: str) -> Finding:
    """Among the ranks that a launcher started, on one node or several."""
    try:
        return _judge(backend, all_reduce(backend))
    except (RuntimeError, ValueError, OSError) as error:
        return problem(backend, f"the ranks did not connect: {_first_line(str(error))}", FIXES[backend])


def _started(backend: str, count: int) -> Finding:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}",
               "-m", "mrigan.doctor.ring", backend]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return problem(backend, f"{count} processes did not connect within {TIMEOUT_S} s", FIXES[backend])
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        errors = [line for line in done.stderr.splitlines() if "Error" in line]
        return problem(
            backend, f"{count} processes failed: {_first_line(errors[0] if errors else done.stderr)}", FIXES[backend]
        )
    return _judge(backend, json.loads(lines[-1]))


def _judge(backend: str, result: dict[str, float | int | bool]) -> Finding:
    ranks = f"{result['ranks']} ranks all-reduce"
    if not result["correct"]:
        return problem(backend, f"{ranks} to a wrong sum", "a broken GPU or link: dcgmi diag -r 3, and drain the node")
    return ok(backend, f"{ranks}, {result['rate']:.2g} GB/s each")


def _host_name() -> Finding:
    name = socket.gethostname()
    try:
        return ok("host name", f"{name} is {socket.gethostbyname(name)}")
    except OSError:
        return problem("host name", f"{name} does not resolve", f"add it to /etc/hosts: 127.0.1.1 {name}")


def _first_line(text: str) -> str:
    return (text.strip() or "no message").splitlines()[0][:300]

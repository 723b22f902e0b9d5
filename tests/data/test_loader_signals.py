"""Loader workers and the outside world: signals to the group, and a process that ends in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LOST = """
import multiprocessing, os, sys
from mrigan.data import EpochPlan, ShardSet
from tests.builders import train_loader
from mrigan.errors import MriganError

def main():
    shards = ShardSet.open([sys.argv[1]], "train")
    plan = EpochPlan(shards.labels, 0)
    loader = train_loader(
        shards, plan, global_batch=8, start_step=0, stop_step=10**9, workers=2, workers_are="{kind}", size=32
    )
    next(loader)
    try:
        os.kill(multiprocessing.active_children()[0].pid, 9)
        for batch in loader:
            pass
    except (MriganError, RuntimeError) as error:  # torch tells of a lost worker by a signal handler: anywhere
        print(error)
    loader.close()
    print("left:", multiprocessing.active_children())

main()
"""

SCRIPT = """
import signal, sys
from mrigan.data import EpochPlan, ShardSet
from tests.builders import train_loader

def main():
    caught = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, lambda n, _: caught.append(n))
    shards = ShardSet.open([sys.argv[1]], "train")
    plan = EpochPlan(shards.labels, 0)
    loader = train_loader(
        shards, plan, global_batch=8, start_step=0, stop_step=10**9, workers=2, workers_are="{kind}", size=32
    )
    after = 0
    for batch in loader:
        if batch.step == 3:
            print("ready", flush=True)
        if caught:  # a rank goes on for some steps, until all agree to stop
            after += 1
        if after == 200:
            break
    {end}

main()
"""


def start(pairs: Path, script: str, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", script, str(pairs), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    )


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize("end", ["loader.close(); print('saved')", "print('saved'); raise KeyError('in the loop')"])
def test_workers_outlive_signals_to_the_group_and_end_with_the_process(pairs: Path, end: str, kind: str) -> None:
    process = start(pairs, SCRIPT.replace("{end}", end).replace("{kind}", kind))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)  # a worker left over would hold the pipe for 90 seconds
    assert out == "saved\n"
    assert process.returncode == (1 if "KeyError" in end else 0), err
    assert "DataLoader worker" not in err
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_killed_worker_is_an_error(pairs: Path) -> None:
    process = start(pairs, LOST.replace("{kind}", "processes"))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "DataLoader worker (pid" in out or "loader process was lost" in out
    assert out.endswith("left: []\n")


STARTING = """
import os, signal, sys, threading
from pathlib import Path
from mrigan.data import EpochPlan, ShardSet
from tests.builders import train_loader
from mrigan.data.backends import processes

folder, start_worker = Path(sys.argv[2]), processes.start_worker

def slow(number):  # a worker that is not yet ready for signals
    (folder / f"starts-{number}").touch()
    while not (folder / "go").exists():
        threading.Event().wait(0.01)
    start_worker(number)

def main():
    caught = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _: caught.append(n))
    processes.start_worker = slow
    shards = ShardSet.open([sys.argv[1]], "train")
    loader = train_loader(
        shards, EpochPlan(shards.labels, 0), global_batch=8, start_step=0, stop_step=4, workers=2,
        workers_are="processes", size=32,
    )
    print(len(list(loader)), sorted(caught), flush=True)
    loader.close()

main()
"""


def test_signals_to_the_group_while_workers_start_leave_them_at_work(pairs: Path, tmp_path: Path) -> None:
    process = start(pairs, STARTING, str(tmp_path))
    while not all((tmp_path / f"starts-{number}").exists() for number in range(2)):
        assert process.poll() is None, process.communicate()
        threading.Event().wait(0.01)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.killpg(process.pid, number)
    (tmp_path / "go").touch()
    out, err = process.communicate(timeout=120)
    assert out == "4 [2, 15]\n", err
    assert process.returncode == 0

"""A signal to the whole group (Ctrl-C, `scancel`) while a build and its workers start: it stops, and can go on."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mrigan.packing import plan_shards
from mrigan.shardset.layout import Layout
from mrigan.shardset.leftovers import leftovers
from tests.packing.conftest import PNG, Built, config
from tests.packing.processes import alive, server, start, wait_for, workers


def handles(pid: int, number: int) -> bool:
    """Whether the process has its own handler of a signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return bool(caught >> (number - 1) & 1)


MOMENTS: dict[str, Callable[[int], bool]] = {
    "it loads": lambda pid: handles(pid, signal.SIGTERM),
    "the workers' server loads": lambda pid: bool(server(pid)),
    "a worker starts": lambda pid: bool(workers(pid)),
}


@pytest.mark.parametrize(
    ("moment", "number"), zip(MOMENTS, (signal.SIGTERM, signal.SIGTERM, signal.SIGINT), strict=True)
)
def test_a_signal_to_the_group_stops_a_build_that_starts(
    built: Built, tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    folder = tmp_path / "shards"
    plan_shards(built.catalog, config(*PNG), folder)
    process: subprocess.Popen[str] = start(folder)
    wait_for(process, lambda: MOMENTS[moment](process.pid))
    crew = [*server(process.pid), *workers(process.pid)]
    if len(crew) == 1:
        os.kill(crew[0], signal.SIGSTOP)  # however long it loads, nobody waits for it
    os.killpg(process.pid, number)
    process.wait(timeout=120)
    assert not any(alive(pid) for pid in crew)
    _, said = process.communicate()
    assert process.returncode == 75, said
    assert f"stopped by {number.name}" in said
    assert "Traceback" not in said
    assert not leftovers(Layout(folder))

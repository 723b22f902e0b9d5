"""A signal to the whole group (Ctrl-C, `scancel`) while a build and its workers start: it stops, and can go on."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mrigan.packing import plan_shards
from mrigan.packing.layout import Layout
from mrigan.packing.leftovers import leftovers
from tests.packing.conftest import PNG, Built, config
from tests.packing.processes import children, gone, start, wait_for, workers


def handles(pid: int, number: int) -> bool:
    """Whether the process has its own handler of a signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return bool(caught >> (number - 1) & 1)


def has_server(pid: int) -> bool:
    """Whether the process that workers are forked from has begun: it has loaded nothing yet."""
    return any(b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children(pid))


MOMENTS: dict[str, Callable[[int], bool]] = {
    "it loads": lambda pid: handles(pid, signal.SIGTERM),
    "the workers' server loads": has_server,
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
    crew = [*children(process.pid), *workers(process.pid)]
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 75, said
    assert f"stopped by {number.name}" in said
    assert "Traceback" not in said
    assert not leftovers(Layout(folder))
    gone(crew)

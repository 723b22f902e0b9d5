"""SIGTERM and Ctrl-C end any command, from its first import on, with 75 and a line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.packing.processes import alive, children
from tests.training.test_launch import catches


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, *words], cwd=ROOT, text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("words", [["catalog", "scan", "dfdc", ".", "-o"], ["demo"]], ids=" ".join)
def test_a_command_that_still_imports_is_stopped(number: signal.Signals, words: list[str], tmp_path: Path) -> None:
    process = start("-m", "mrigan.cli", *words, str(tmp_path / "out"))
    while not catches(process, signal.SIGTERM):
        assert process.poll() is None
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert said.startswith(f"stopped by {number.name}"), said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_processes_that_draw_the_sample_end_with_it(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C goes to all of them, SIGTERM to the first alone."""
    words = ["sample", str(tmp_path / "set"), "--people", "2", "--seconds", "60", "--workers", "2"]
    process = start("-m", "mrigan.cli", *words)
    while not list(tmp_path.glob(".set.partial/*/*.mp4")):
        assert process.poll() is None
    crew = [pid for pid in children(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(process.pid, number) if number == signal.SIGTERM else os.killpg(process.pid, number)
    process.wait(timeout=120)
    assert not any(alive(pid) for pid in crew)
    _, said = process.communicate()
    assert process.returncode == 75, said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


SWALLOWED = """
import signal, threading
from mrigan import stopping
stopping.MAX_UNWINDING = 0.1
with stopping.stopped_by_signals(130):
    try:
        print("begun", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:  # as an import's callback does, or a library
        threading.Event().wait()
"""


def test_a_library_that_swallows_the_interrupt_stops_nothing() -> None:
    process = start("-c", SWALLOWED)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.startswith("stopped by SIGTERM; finished work is kept")


DONE = """
import atexit, sys
atexit.register(lambda: (print("ending", flush=True), sys.stdin.readline()))
from mrigan.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_done_ends_as_it_would(number: signal.Signals) -> None:
    process = start("-c", DONE, "--version")
    assert process.stdout is not None
    while process.stdout.readline() != "ending\n":
        assert process.poll() is None
    process.send_signal(number)
    _, said = process.communicate("\n", timeout=60)
    assert (process.returncode, said) == (0, "")

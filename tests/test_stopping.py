"""SIGTERM and Ctrl-C end any command, from its first import on, with 75 and a line."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.training.test_launch import catches


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, *words], cwd=ROOT, text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


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


SWALLOWED = """
import signal, threading
from mrigan import stopping
stopping.UNWINDS = 0.1
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
    assert said.startswith("stopped by SIGTERM; what is finished is kept")


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

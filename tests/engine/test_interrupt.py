"""Ctrl-C is answered while the main thread is inside one long call, as in a backward pass on a CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mrigan.engine.interrupt import answering, in_words
from mrigan.engine.signals import StopRequest, listening
from tests.conftest import ROOT
from tests.engine.test_signals import ALONE

# The main thread is in one call of C, which gives up Python's lock and goes on after a signal, as autograd's does; it
# waits for a second byte that nobody sends.
PROGRAM = """
import ctypes, logging, os, sys
from mrigan.engine.interrupt import expect_steps_of, note_listener
from mrigan.engine.signals import listening
logging.basicConfig(format="%(message)s")
libc = ctypes.CDLL(None)
with listening():
    if "begun" in sys.argv:
        note_listener()
    expect_steps_of(170)
    mutex = (ctypes.c_char * 64)()
    libc.pthread_mutex_lock(mutex)
    print("inside", flush=True)
    libc.pthread_mutex_lock(mutex)  # never returns
"""


def test_the_first_is_answered_and_the_second_ends_a_process_that_hears_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "begun"], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "inside\n"
        process.send_signal(signal.SIGINT)
        said = process.stderr.readline()  # while the call goes on
        assert said.startswith("stopping after the current step (about 2 min 50 s)")
        assert "press Ctrl-C again to stop now" in said
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert "the same command continues from the last checkpoint" in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_there_is_anything_to_save_the_first_ends_the_process(number: signal.Signals) -> None:
    """Also while it is in one long call, such as the loading of a library."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    assert said == f"stopped by {number.name} before the first step; the same command continues\n"


def test_where_the_main_thread_hears_it_the_second_is_a_keyboard_interrupt() -> None:
    with listening(), StopRequest(ALONE):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_nothing_is_left_behind_and_a_fork_has_no_part() -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with answering(), answering():
        child = os.fork()
        if child == 0:
            os._exit(0 if signal.set_wakeup_fd(-1) == -1 else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert signal.set_wakeup_fd(before) == before


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(8.4, "8 s"), (170, "2 min 50 s"), (7260, "2 h 1 min"), (20_000_000, "231 days")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words

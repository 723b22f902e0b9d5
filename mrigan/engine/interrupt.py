"""An answer to Ctrl-C at once, also in the middle of a step that takes minutes.

Python runs a signal's handler between two of its own instructions, and a backward pass on a CPU is one of them. So the
signal's number goes through a pipe to a thread, which answers: the first Ctrl-C with what will happen, the second with
the end of the process, where the main thread does not come to it by itself. While a training still imports torch,
nothing is open that could be lost: then the first Ctrl-C, or SIGTERM, ends the process.

This module imports no torch: it is at work before that import.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mrigan.stopping import Stopped

log = logging.getLogger(__name__)

GRACE = 1.0  # seconds that the main thread has, after the second Ctrl-C, to hear it; twice as many to end by itself
INTERRUPTED = 130  # the exit code: 128 + SIGINT
ENDING = (signal.SIGINT, signal.SIGTERM)


@dataclass
class _State:
    """What the answering thread knows of the main thread."""

    step_seconds: float = 0.0
    handled: int = 0  # SIGINTs that the main thread's own handler has seen
    listens: bool = False  # it has begun what it must end by itself


_state = _State()


def expect_steps_of(seconds: float) -> None:
    """How long a step takes, as far as it is known; said in the answer."""
    _state.step_seconds = seconds


def note_handled() -> None:
    """The main thread's own handler has run for a SIGINT."""
    _state.handled += 1


def note_listener() -> None:
    """From here on the main thread looks for signals, and ends by itself."""
    _state.listens = True


@contextmanager
def answering() -> Iterator[None]:
    """Answer SIGINT in a thread for as long as the context is open; one inside another does nothing."""
    main = threading.current_thread() is threading.main_thread()
    if not main:
        yield
        return
    other = signal.set_wakeup_fd(-1)
    if other != -1:  # ours of an outer context, or somebody else's
        signal.set_wakeup_fd(other)
        yield
        return
    hear, tell = socket.socketpair()
    tell.setblocking(False)
    _state.listens = False
    signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=_answer, args=(hear,), name="ctrl-c", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        tell.close()
        thread.join(2 * GRACE)
        hear.close()


def in_words(seconds: float) -> str:
    """`170` → "2 min 50 s"."""
    seconds = round(seconds)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:,.0f} days"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _answer(hear: socket.socket) -> None:
    count, before = 0, _state.handled
    while data := hear.recv(64):
        early = [number for number in data if number in ENDING]
        if early and not _state.listens:
            _say(f"stopped by {signal.Signals(early[0]).name} before the first step; the same command goes on")
            os._exit(Stopped.exit_code)
        for _ in range(data.count(signal.SIGINT)):
            count += 1
            if count == 1:
                _say_what_happens()
                continue
            end = time.monotonic() + GRACE
            while _state.handled - before < count and time.monotonic() < end:
                time.sleep(GRACE / 50)
            if _state.handled - before < count or not _closes(hear):
                log.warning("stopped at once; the same command goes on from the last checkpoint")
                os._exit(INTERRUPTED)
            return


def _closes(hear: socket.socket) -> bool:
    """Whether the main thread, on its way out, leaves the context soon; what it may wait for is MLflow, or a disk."""
    hear.settimeout(2 * GRACE)
    try:
        return not hear.recv(64)
    except TimeoutError:
        return False


def _say_what_happens() -> None:
    length = f" (about {in_words(_state.step_seconds)})" if _state.step_seconds >= 1 else ""
    _say(
        f"stopping after the step under way{length}, then saving; Ctrl-C again stops now, and what was done after the "
        "last checkpoint is lost"
    )


def _say(line: str) -> None:
    """By rank 0, for all."""
    if os.environ.get("RANK", "0") == "0":
        log.warning("%s", line)


def _forget_in_child() -> None:
    """A forked process must not tell its parent's thread of its own signals."""
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_forget_in_child)

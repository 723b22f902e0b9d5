"""An immediate answer to Ctrl-C, even during a step that takes minutes.

Python runs a signal handler between two bytecode instructions, and a backward pass on a CPU is one instruction. So the
signal's number goes through a pipe to a thread. That thread answers the first Ctrl-C with what will happen. At the
second one it ends the process, if the main thread does not end by itself. While a training imports torch, nothing can
be lost, so the first Ctrl-C or SIGTERM ends the process.

This module does not import torch, because it is used before that import.
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

# Seconds for the main thread to notice the second Ctrl-C; it has twice as many to end by itself.
GRACE_S = 1.0
EXIT_INTERRUPTED = 130  # 128 + SIGINT
END_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class _State:
    """What the answering thread knows about the main thread."""

    step_seconds: float = 0.0
    handled: int = 0  # SIGINTs that the main thread's handler has received
    listens: bool = False  # it has begun work that it must end by itself


_state = _State()


def expect_steps_of(seconds: float) -> None:
    """Set the duration of a step, for the answer."""
    _state.step_seconds = seconds


def note_handled() -> None:
    """The main thread's handler has received a SIGINT."""
    _state.handled += 1


def note_listener() -> None:
    """From now on the main thread checks for signals, and ends by itself."""
    _state.listens = True


@contextmanager
def answering() -> Iterator[None]:
    """Answer SIGINT in a thread while the context is open; a nested context does nothing."""
    main = threading.current_thread() is threading.main_thread()
    if not main:
        yield
        return
    other = signal.set_wakeup_fd(-1)
    if other != -1:  # of an outer context, or of other code
        signal.set_wakeup_fd(other)
        yield
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    _state.listens = False
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=_answer, args=(receiver,), name="ctrl-c", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        sender.close()
        thread.join(2 * GRACE_S)
        receiver.close()


def in_words(seconds: float) -> str:
    """`170` → "2 min 50 s"."""
    seconds = round(seconds)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:,.0f} days"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _answer(receiver: socket.socket) -> None:
    count, before = 0, _state.handled
    while data := receiver.recv(64):
        early = [number for number in data if number in END_SIGNALS]
        if early and not _state.listens:
            _log_on_rank_0(
                f"stopped by {signal.Signals(early[0]).name} before the first step; the same command continues"
            )
            os._exit(Stopped.exit_code)
        for _ in range(data.count(signal.SIGINT)):
            count += 1
            if count == 1:
                _announce_stop()
                continue
            end = time.monotonic() + GRACE_S
            while _state.handled - before < count and time.monotonic() < end:
                time.sleep(GRACE_S / 50)
            if _state.handled - before < count or not _closes(receiver):
                log.warning("stopped at once; the same command continues from the last checkpoint")
                os._exit(EXIT_INTERRUPTED)
            return


def _closes(receiver: socket.socket) -> bool:
    """Whether the main thread leaves the context soon; it may have to wait for MLflow or a disk."""
    receiver.settimeout(2 * GRACE_S)
    try:
        return not receiver.recv(64)
    except TimeoutError:
        return False


def _announce_stop() -> None:
    length = f" (about {in_words(_state.step_seconds)})" if _state.step_seconds >= 1 else ""
    _log_on_rank_0(
        f"stopping after the current step{length}, then saving; press Ctrl-C again to stop now; steps after the last "
        "checkpoint are then lost"
    )


def _log_on_rank_0(line: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        log.warning("%s", line)


def _reset_in_child() -> None:
    """A forked process must not report its signals to its parent's thread."""
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_reset_in_child)

"""Stop a job of many processes: signals go to the whole group (Ctrl-C, `scancel`), and the main process decides.

This module does not import torch or other rooms: a command enters `stopped_by_signals` before it imports them.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mrigan.errors import ShardError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GROUP_SIGNALS = (*SIGNALS, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
AGAIN = "run the same command again to continue"


class BuildStopped(ShardError):  # noqa: N818 (not an error)
    """A signal stopped the build; the same command continues it."""

    exit_code = 75


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGINT and SIGTERM end the block at once, also in the middle of an import.

    Raises:
        BuildStopped: a signal came.
    """
    caught: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        try:
            yield
        except KeyboardInterrupt:
            name = signal.Signals(caught[0]).name if caught else "SIGINT"
            raise BuildStopped(f"stopped by {name}; finished units are kept", fix=AGAIN) from None


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM are added to the list and do not end the process. Works only in the main thread."""
    caught: list[int] = []
    with _handled_by(lambda number, _frame: caught.append(number)):
        yield caught


@contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    main = threading.current_thread() is threading.main_thread()
    old = {number: signal.signal(number, handler) for number in SIGNALS} if main else {}
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)


@contextmanager
def held_back() -> Iterator[None]:
    """Block group signals. Processes that are started in the block keep them blocked until `accept_signals`.

    A new process has no handlers yet: a signal would kill it, and the job would fail.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def accept_signals() -> None:
    """Unblock the signals in a process that was started under `held_back`, after it has set its handlers."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, GROUP_SIGNALS)

"""Stopping a job of many processes: signals go to the whole group (Ctrl-C, `scancel`), and the first process decides.

Without torch and without the rooms that do the work: a command opens `stopped_by_signals` before it imports them.
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
TO_GROUPS = (*SIGNALS, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
AGAIN = "start it again to go on"


class Stopped(ShardError):  # noqa: N818 (nothing is wrong)
    """A signal stopped the build; started again it goes on."""

    exit_code = 75


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGINT and SIGTERM end the block at once, also in the middle of an import, and are told as `Stopped`.

    Raises:
        Stopped: a signal came.
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
            raise Stopped(f"stopped by {name}; what is finished is kept", fix=AGAIN) from None


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM fill the list instead of ending the process; outside the main thread nothing is caught."""
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
    """In the block signals to a group wait. Processes that are started in it hold them back until `accept_signals`.

    A process that begins has no handlers yet: such a signal would kill it, and the job would fail for the loss of it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TO_GROUPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def accept_signals() -> None:
    """In a process that was started under `held_back`, once its handlers are there."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_GROUPS)

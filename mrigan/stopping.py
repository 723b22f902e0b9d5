"""Stop a job of many processes: signals go to the whole group (Ctrl-C, `scancel`), and the main process decides.

This module does not import torch or other rooms: `mrigan` enters `stopped_by_signals` before it imports them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mrigan.errors import MriganError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GROUP_SIGNALS = (*SIGNALS, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
AGAIN = "run the same command again to continue"
MAX_UNWINDING = 5.0  # seconds that a stopped block has to end by itself


class Stopped(MriganError):  # noqa: N818 (not an error)
    """A signal stopped the work; the same command continues it."""

    exit_code = 75


@contextmanager
def stopped_by_signals(exit_code: int = Stopped.exit_code) -> Iterator[None]:
    """SIGINT and SIGTERM end the block at once, also in the middle of an import.

    A block that does not end within `MAX_UNWINDING` seconds, because a library has swallowed the exception or waits for
    something, ends with the process: files on disk are complete at any moment.

    Raises:
        Stopped: a signal came. Its exit code is `exit_code`.
    """
    caught: list[int] = []

    def stopped() -> Stopped:
        error = Stopped(f"stopped by {signal.Signals(caught[0]).name}; finished work is kept", fix=AGAIN)
        error.exit_code = exit_code
        return error

    def leave() -> None:
        sys.stderr.write(f"{stopped()}\n")
        sys.stderr.flush()
        os._exit(exit_code)

    timer = threading.Timer(MAX_UNWINDING, leave)
    timer.daemon = True

    def interrupt(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        if len(caught) == 1:
            timer.start()
            raise KeyboardInterrupt

    with _handled_by(interrupt):
        try:
            yield
        except BaseException:
            if caught:  # whatever the interrupt became on its way
                raise stopped() from None
            raise
        finally:
            timer.cancel()


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


def ignore_signals() -> None:
    """SIGINT and SIGTERM do nothing from here on."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


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

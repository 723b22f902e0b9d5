"""Calls that may never come back: what touches a file of a dead mount waits in the kernel, where no signal ends it."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
ANSWER = 30.0  # seconds in which a file system tells about a file: a disk may have to start
GLANCE = 3.0  # seconds for what is good to know, and not needed
_left_behind: list[threading.Thread] = []


def within(seconds: float, function: Callable[..., T], *args: Any) -> T:
    """`function(*args)`, in a thread that is left behind if it does not come back.

    Raises:
        TimeoutError: it has not come back. Else what the function raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function(*args))
        except BaseException as error:  # noqa: BLE001 (raised again by the caller's thread)
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    leave_behind(thread, seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(errno.ETIMEDOUT, f"no answer in {seconds:g} s")
    return results[0]


def file_status(path: str | os.PathLike[str]) -> os.stat_result:
    """`os.stat`; of a file system that does not answer TimeoutError, an OSError, after `ANSWER` seconds."""
    return within(ANSWER, os.stat, path)


def leave_behind(thread: threading.Thread, seconds: float) -> None:
    """Wait so long for a daemon thread; from then on it may end or not."""
    thread.join(seconds)
    if thread.is_alive():
        _left_behind.append(thread)


def leave(code: int) -> NoReturn:
    """End the process; at once where a thread was left behind, which may be in the middle of anything."""
    if any(thread.is_alive() for thread in _left_behind):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)

"""Calls that may never come back: what touches a file of a dead mount waits in the kernel, where no signal ends it."""

from __future__ import annotations

import errno
import os
import queue
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, TypeVar, cast

T = TypeVar("T")
ANSWER = 30.0  # seconds in which a file system tells about a file: a disk may have to start
GLANCE = 3.0  # seconds for what is good to know, and not needed
_left_behind: list[threading.Thread] = []


class _Helper:
    """A thread that makes one call after the other: to start one for each path of a long list would take minutes."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()  # None = end
        self.results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while call := self.calls.get():
            try:
                self.results.put((call(), None))
            except BaseException as error:  # noqa: BLE001 (raised again by the caller's thread)
                self.results.put((None, error))


_idle: list[_Helper] = []
os.register_at_fork(after_in_child=_idle.clear)  # a child has no thread of its parent


def within(seconds: float, function: Callable[..., T], *args: Any) -> T:
    """`function(*args)`, in a thread that is left behind if it does not come back.

    Raises:
        TimeoutError: it has not come back. Else what the function raises.
    """
    try:
        helper = _idle.pop()
    except IndexError:
        helper = _Helper()
    helper.calls.put(partial(function, *args))
    try:
        result, error = helper.results.get(timeout=seconds)
    except BaseException as ended:  # no answer, or Ctrl-C
        helper.calls.put(None)
        leave_behind(helper.thread, 0)
        if isinstance(ended, queue.Empty):
            raise TimeoutError(errno.ETIMEDOUT, f"no answer in {seconds:g} s") from None
        raise
    _idle.append(helper)
    if error is not None:
        raise error
    return cast(T, result)


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

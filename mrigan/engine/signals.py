"""Stopping on purpose: a signal or a stop file sets a flag, the ranks agree on it between two steps, a checkpoint is
saved, the process ends. SIGINT and SIGTERM before the first step end it without one. SIGUSR1 and the stop file are for
queues, which leave minutes: that step is done and saved, so that a job which is requeued gets on.

Exit codes: 0 finished; 75 (EX_TEMPFAIL) stopped, saved, and the same command goes on. torchrun turns every code other
than 0 into 1, so scripts read `run.dir/status.json`, which says `finished`, `stopped`, `failed` or `running`.

This module imports no torch: `listening` starts before that import, ten seconds on a busy file system in which a
signal would kill or be lost.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from mrigan.engine.interrupt import ENDING, answering, note_handled, note_listener

if TYPE_CHECKING:
    from mrigan.engine.distributed import World

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
GPU_INTERVAL = 10  # steps between two agreements on GPUs, where a step takes milliseconds
STOP_FILE = "MRIGAN_STOP_FILE"  # environment: a file whose appearance asks for a stop; signals can be lost, it cannot
POLL = 1.0  # seconds between two looks at it, by rank 0
_FILE_SEEN = 255  # stands for the stop file among the signals' numbers


class _Flag:
    """The last signal that came to this process, and not to one that it forked."""

    def __init__(self) -> None:
        self.received = 0  # the signal's number
        self._owner = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            return  # a loader process that inherited the handler; it ends when its rank does
        if number == signal.SIGINT:
            note_handled()
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number


_early: list[_Flag] = []  # of the `listening` that is open


@contextmanager
def listening() -> Iterator[None]:
    """Until a `StopRequest` is there, SIGINT and SIGTERM end the process; it takes SIGUSR1 over, which it saves for."""
    flag = _Flag()
    before = _install(flag)
    _early.append(flag)
    try:
        with answering():
            yield
    finally:
        _early.remove(flag)
        _restore(before)


class StopRequest:
    """A context in which SIGTERM, SIGINT and SIGUSR1 ask for a stop, and do not kill; a second SIGINT ends at once.

    SIGINT is answered at once, be it in the middle of a step: see `mrigan.engine.interrupt`.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.every = GPU_INTERVAL if world.size > 1 and world.device.type == "cuda" else 1
        self._flag = _Flag()
        self._file = os.environ.get(STOP_FILE, "") if world.main else ""
        self._look = 0.0  # when to look at the file again
        self._before: dict[int, Any] = {}
        self._answers = ExitStack()

    @property
    def received(self) -> int:
        """The number of the signal that came to this rank, 0 = none."""
        return self._flag.received

    @received.setter
    def received(self, number: int) -> None:
        self._flag.received = number

    def __enter__(self) -> StopRequest:
        self._before = _install(self._flag)
        for early in _early:
            self.received, early.received = self.received or early.received, 0
        self._answers.enter_context(answering())
        note_listener()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answers.close()
        _restore(self._before)

    def agreed(self, step: int) -> str:
        """What asked any rank to stop: a signal's name or "a stop file", else "".

        Every rank must ask after the same `step`.
        """
        if step % self.every:
            return ""
        number = self.world.any(self.received or self._file_seen())
        if number == _FILE_SEEN:
            return "a stop file"
        return signal.Signals(number).name if number else ""

    def early(self) -> str:
        """As `agreed`, before the first step, of what does not wait for it. Every rank must ask."""
        number = self.world.any(self.received if self.received in ENDING else 0)
        return signal.Signals(number).name if number else ""

    def _file_seen(self) -> int:
        if not self._file or time.monotonic() < self._look:
            return 0
        self._look = time.monotonic() + POLL
        return _FILE_SEEN if os.path.exists(self._file) else 0


def _install(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """The handlers that were there before; Python allows the main thread alone to change them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in SIGNALS}


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)

"""Stop a training by a signal or a stop file.

Both set a flag. Between two steps the ranks agree on it, save a checkpoint, and end. Before the first step, SIGINT and
SIGTERM end the run without a step. SIGUSR1 and the stop file come from queues, which leave minutes: then the first step
is done and saved, so that a requeued job makes progress.

Exit codes: 0 finished; 75 (EX_TEMPFAIL) stopped and saved, the same command continues. torchrun turns every code but 0
into 1, so scripts read `run.dir/status.json`: `finished`, `stopped`, `failed` or `running`.

This module does not import torch: `listening` begins before that import, which can take ten seconds on a busy file
system. A signal in that time would kill the process, or be lost.
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

from mrigan.engine.interrupt import END_SIGNALS, answering, note_handled, note_listener

if TYPE_CHECKING:
    from mrigan.engine.distributed import World

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
AGREE_EVERY_ON_GPUS = 10  # steps; there a step takes milliseconds
STOP_FILE = "MRIGAN_STOP_FILE"  # variable: a file whose creation requests a stop; unlike a signal, it cannot be lost
POLL_S = 1.0  # between two checks of it, by rank 0
_STOP_FILE_EXISTS = 255  # among the signals' numbers


class _Flag:
    """The last signal of this process; signals of forked processes do not count."""

    def __init__(self) -> None:
        self.received = 0  # the signal's number
        self._owner = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            return  # a loader process, which inherited the handler, and ends with its rank
        if number == signal.SIGINT:
            note_handled()
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number


_early: list[_Flag] = []  # of the `listening` that is open


@contextmanager
def listening() -> Iterator[None]:
    """Until a `StopRequest` is open, SIGINT and SIGTERM end the process, and SIGUSR1 is kept for it."""
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
    """A context in which SIGTERM, SIGINT and SIGUSR1 request a stop; a second SIGINT ends the process at once.

    SIGINT is answered immediately, even during a step: see `mrigan.engine.interrupt`.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.every = AGREE_EVERY_ON_GPUS if world.size > 1 and world.device.type == "cuda" else 1
        self._flag = _Flag()
        self._file = os.environ.get(STOP_FILE, "") if world.main else ""
        self._next_check = 0.0  # of the file
        self._before: dict[int, Any] = {}
        self._answers = ExitStack()

    @property
    def received(self) -> int:
        """The number of the signal that this rank received; 0 = none."""
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
        """The reason for a stop on any rank: a signal's name, or "a stop file"; "" = none.

        Every rank must call it after the same `step`.
        """
        if step % self.every:
            return ""
        number = self.world.any(self.received or self._stop_file_exists())
        if number == _STOP_FILE_EXISTS:
            return "a stop file"
        return signal.Signals(number).name if number else ""

    def early(self) -> str:
        """As `agreed`, for the signals that end a run before its first step. Every rank must call it."""
        number = self.world.any(self.received if self.received in END_SIGNALS else 0)
        return signal.Signals(number).name if number else ""

    def _stop_file_exists(self) -> int:
        if not self._file or time.monotonic() < self._next_check:
            return 0
        self._next_check = time.monotonic() + POLL_S
        return _STOP_FILE_EXISTS if os.path.exists(self._file) else 0


def _install(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Returns the earlier handlers. Only the main thread may change handlers."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in SIGNALS}


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)

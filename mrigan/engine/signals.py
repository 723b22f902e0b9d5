"""Stopping on purpose: a signal sets a flag, the ranks agree on it between two steps, a checkpoint is saved, the
process ends.

Exit codes: 0 finished; 75 (EX_TEMPFAIL) stopped by a signal, saved, and the same command goes on. torchrun turns every
code other than 0 into 1, so scripts read `run.dir/status.json`, which says `finished`, `stopped`, `failed` or
`running`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from mrigan.engine.distributed import World
from mrigan.errors import MriganError

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
EX_TEMPFAIL = 75
GPU_INTERVAL = 10  # steps between two agreements on GPUs, where a step takes milliseconds


class Stopped(MriganError):  # noqa: N818 - it is no error
    """Training was stopped by a signal; all is saved and the same command goes on."""

    exit_code = EX_TEMPFAIL


class StopRequest:
    """A context in which SIGTERM, SIGINT and SIGUSR1 ask for a stop, and do not kill; a second SIGINT ends at once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.every = GPU_INTERVAL if world.size > 1 and world.device.type == "cuda" else 1
        self.received = 0  # the signal's number
        self._owner = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers there only
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agreed(self, step: int) -> str:
        """The signal's name when any rank has received one, else "". Every rank must ask after the same `step`."""
        if step % self.every:
            return ""
        number = self.world.any(self.received)
        return signal.Signals(number).name if number else ""

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            return  # a loader process that inherited the handler; it ends when its rank does
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

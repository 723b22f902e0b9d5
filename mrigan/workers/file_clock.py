"""How long a worker has been at each file. The process that started it is told, and ends what hangs.

A read from a dead mount and a decoder in a loop do not come back to Python, so no exception can end them: whoever
waits for the worker counts the seconds and kills it (see `mrigan.workers.pool`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TICK = 0.5  # seconds between two looks at what the worker is at


@dataclass(frozen=True)
class AtFile:
    """A note of a worker: which file it is at, and the seconds that it has spent with it, counted over all visits."""

    file: str
    seconds: float


class FileClock:
    """Counts the seconds of a task by file, in its block, and reports them: at once of a new file, else by a thread.

    Time in which the whole process stands still (Ctrl-Z, a suspended machine) is not counted.

    Args:
        report: takes an `AtFile`; called from two threads.
    """

    def __init__(self, report: Callable[[Any], None]) -> None:
        self._report = report
        self._file, self._since = "", time.monotonic()
        self._seconds: dict[str, float] = {}
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> FileClock:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def at(self, file: str) -> None:
        """From now on the time counts for this file; "" = for none."""
        with self._lock:
            self._count()
            is_new, self._file = file not in self._seconds, file
            self._seconds.setdefault(file, 0.0)
        if is_new:
            self._report(AtFile(file, 0.0))

    def _tell(self) -> None:
        while not self._ended.wait(TICK):
            with self._lock:
                self._count()
                now = AtFile(self._file, self._seconds.get(self._file, 0.0))
            if now.file:
                self._report(now)

    def _count(self) -> None:
        """Add the time since the last count; with this process stopped in between, at most what `_tell` waits."""
        now = time.monotonic()
        if self._file:
            self._seconds[self._file] += min(now - self._since, 2 * TICK)
        self._since = now

"""How long a worker has been at each file, so that the process that started it can kill a worker that hangs.

A read from a dead mount and a decoder in a loop do not return to Python, so no exception can end them. The worker
reports the seconds with a `FileClock`; the process that waits for it counts on with a `FileTime` and kills it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

REPORT_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class AtFile:
    """A worker's report: the file that it works on, and the seconds spent on it, summed over all visits."""

    file: str
    seconds: float


class FileTime:
    """How long a worker has been at one file: its last report, and the seconds since then."""

    def __init__(self) -> None:
        self._at: AtFile | None = None
        self._silent = 0.0

    def reported(self, at: AtFile | None = None) -> None:
        """The worker sent a report, of a file or of something else."""
        self._at, self._silent = at or self._at, 0.0

    def waited(self, seconds: float) -> None:
        """Nothing came for so long."""
        self._silent += seconds

    def beyond(self, limit: float) -> AtFile | None:
        """The file, if the worker has been at it for more than `limit` seconds; 0 = no limit."""
        if self._at is None or not limit or self._at.seconds + self._silent <= limit:
            return None
        return AtFile(self._at.file, self._at.seconds + self._silent)


class FileClock:
    """Within its block, counts a task's seconds by file and reports them: a new file at once, else from a thread.

    Time in which the whole process is stopped (Ctrl-Z, a suspended machine) is not counted.

    Args:
        report: takes an `AtFile`; called from two threads.
    """

    def __init__(self, report: Callable[[Any], None]) -> None:
        self._report = report
        self._file, self._since = "", time.monotonic()
        self._seconds: dict[str, float] = {}
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._report_often, daemon=True)

    def __enter__(self) -> FileClock:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def at(self, file: str) -> None:
        """From now on, count the time for this file; "" = for none."""
        with self._lock:
            self._count()
            is_new, self._file = file not in self._seconds, file
            self._seconds.setdefault(file, 0.0)
        if is_new:
            self._report(AtFile(file, 0.0))

    def _report_often(self) -> None:
        while not self._ended.wait(REPORT_EVERY):
            with self._lock:
                self._count()
                now = AtFile(self._file, self._seconds.get(self._file, 0.0))
            if now.file:
                self._report(now)

    def _count(self) -> None:
        """Add the time since the last count; with this process stopped in between, at most what the thread waits."""
        now = time.monotonic()
        if self._file:
            self._seconds[self._file] += min(now - self._since, 2 * REPORT_EVERY)
        self._since = now

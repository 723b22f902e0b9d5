"""The files in which a run logs. They are the record of the run; MLflow gets a copy (`mrigan.tracking.mirror`).

    metrics.jsonl    {"step": 20, "time": 1700000000.123, "train/loss": 0.5, …}: the numbers of a step
    tracking.jsonl   {"kind": "tags", "tags": {…}}: params, tags, files, data sets, models and the status, for MLflow

Lines are appended and flushed at once, so they survive `kill -9`. A line that a kill or a full disk has cut is ignored.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mrigan.files import atomic_write, failpoint

METRICS, EVENTS = "metrics.jsonl", "tracking.jsonl"
START = (0, 0)  # of a file


class LineLog:
    """A file of JSON objects, one per line; one thread appends, another reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._rewinds = 0

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            OSError: the disk is full, or not writable.
        """
        line = json.dumps(row, ensure_ascii=False, allow_nan=False, default=str).encode() + b"\n"
        what = str(row.get("step", row.get("kind")))
        failpoint("metrics.line", what)
        with self._lock, open(self.path, "ab+") as file:
            if file.tell():
                file.seek(-1, 2)
                line = line if file.read(1) == b"\n" else b"\n" + line  # the line before was cut
            file.write(line)
        failpoint("metrics.written", what)

    def read(self, position: tuple[int, int] = START, count: int = 2**63) -> tuple[list[Any], tuple[int, int]]:
        """Up to `count` lines from a position on, and the position after them.

        After a `rewind`, earlier positions mean the start.
        """
        with self._lock:
            rows: list[Any] = []
            at = position[1] if position[0] == self._rewinds else 0
            if self.path.is_file():
                with open(self.path, "rb") as file:
                    file.seek(at)
                    while len(rows) < count and (line := file.readline()).endswith(b"\n"):
                        rows.extend(_parsed(line))
                        at += len(line)
            return rows, (self._rewinds, at)

    def rewind(self, step: int) -> None:
        """Remove the lines after a step: a killed job lost these steps and will repeat them."""
        with self._lock:
            if self.path.is_file():
                lines = self.path.read_bytes().splitlines(keepends=True)
                kept = [line for line in lines if any(row.get("step", math.inf) <= step for row in _parsed(line))]
                with atomic_write(self.path) as file:
                    file.writelines(kept)
                self._rewinds += 1


def _parsed(line: bytes) -> Iterator[dict[str, Any]]:
    try:
        row = json.loads(line)
    except ValueError:  # cut by a kill
        return
    if isinstance(row, dict):
        yield row

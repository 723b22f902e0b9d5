"""Progress of long work: a bar with a rate and an ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO, TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mrigan.terminal import console, say
from mrigan.text import printable

T = TypeVar("T")


class Advance(Protocol):
    """The function that `bar` yields: call it with the number of items done."""

    def __call__(self, items: int = 1, note: str = "") -> None: ...


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__()

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {self.unit}/s" if speed else "", style="cyan")


@contextmanager
def bar(description: str, total: int, unit: str = "it", done: int = 0, every: float = 10.0) -> Iterator[Advance]:
    """Show the progress of `total` items, `done` of which were done before.

    On a terminal: a live bar. Elsewhere (a log file, Slurm): one line every `every` seconds and one at the end.
    """
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(unit),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
        )
        # If standard output is a file, Rich must not redirect it to the terminal.
        with Progress(*columns, console=console, redirect_stdout=_is_terminal(sys.stdout)) as progress:
            task = progress.add_task(printable(description), total=total, completed=done, note="")

            def advance(items: int = 1, note: str = "") -> None:
                progress.advance(task, items)
                if note:
                    progress.update(task, note=printable(note))

            yield advance
        return
    start = last = time.monotonic()
    count = done

    def advance_quietly(items: int = 1, note: str = "") -> None:
        nonlocal count, last
        count += items
        now = time.monotonic()
        if now - last >= every or (items and count == total):
            last = now
            rate = (count - done) / max(now - start, 1e-9)
            left = time_left(total - count, rate)
            say(f"{description}: {count}/{total}, {rate:.1f} {unit}/s, {left}" + (f", {note}" if note else ""))

    yield advance_quietly


def time_left(items: int, rate: float) -> str:
    """The time for `items` at `rate` per second: `40 s left`, `12 min left`, `3 h 05 min left`."""
    if rate <= 0:
        return "time left unknown"
    seconds = items / rate
    if seconds < 60:
        return f"{seconds:.0f} s left"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min left" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min left"


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def track(items: Iterable[T], description: str, total: int, unit: str = "it") -> Iterator[T]:
    """Yield `items` under a `bar`."""
    with bar(description, total, unit) as advance:
        for item in items:
            yield item
            advance()

"""Long work shows a bar with a rate and an ETA; where there is no terminal, a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
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

T = TypeVar("T")
console = Console(stderr=True)


class Advance(Protocol):
    """What `bar` yields: call it with the number of items done."""

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
    """Show the progress of `total` items, of which `done` are done already.

    On a terminal a live bar; elsewhere (a log file, Slurm) one line every `every` seconds and one at the end.
    """
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(unit),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        )
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(description, total=total, completed=done, note="")

            def advance(items: int = 1, note: str = "") -> None:
                progress.advance(task, items)
                if note:
                    progress.update(task, note=note)

            yield advance
        return
    start = last = time.monotonic()
    count = done

    def advance_quietly(items: int = 1, note: str = "") -> None:
        nonlocal count, last
        count += items
        now = time.monotonic()
        if now - last >= every or count == total:
            last = now
            rate = (count - done) / max(now - start, 1e-9)
            eta = (total - count) / rate if rate else float("inf")
            sys.stderr.write(f"{description}: {count}/{total}, {rate:.1f} {unit}/s, {eta:.0f} s left {note}\n")
            sys.stderr.flush()

    yield advance_quietly


def track(items: Iterable[T], description: str, total: int, unit: str = "it") -> Iterator[T]:
    """Yield `items` under a `bar`."""
    with bar(description, total, unit) as advance:
        for item in items:
            yield item
            advance()

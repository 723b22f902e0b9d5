"""Judging with a limit of time a file, in a thread: nothing interrupts a read of a dead mount or a decoder in a loop.

A thread that hangs is left behind, and another one judges the rest. The main thread only waits, so that Ctrl-C is
answered at once, whatever file is being read or hashed.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mrigan.detect.inputs import Input
from mrigan.progress import Advance
from mrigan.time_limit import leave_behind
from mrigan.workers.file_clock import AtFile, FileClock

if TYPE_CHECKING:
    from mrigan.detect.judge import Judge, Judged

POLL = 0.25  # seconds between two looks at the clock
JOIN = 1.0  # seconds that a thread gets to end its batch of frames


def judge_watched(
    judge: Judge, inputs: Sequence[Input], expected: Sequence[int], examples: int, progress: Advance
) -> Iterator[Judged]:
    """As `Judge.judge`; a file that takes longer than the judge's `seconds_per_file` is unreadable."""
    left, frames = list(inputs), list(expected)
    late: set[Input] = set()
    while left:
        judging = partial(judge.judge, left, frames, examples, late=frozenset(late))
        run = _Run(judging, left, judge.options.seconds_per_file, progress)
        done = 0
        for judged in run.results():
            done += 1
            yield judged
        if run.late is None:
            return
        late.add(run.late)
        left = left[done:]
        seen = left.index(run.late) + 1  # up to there the bar has moved
        frames = [0] * seen + frames[done + seen :]


class _Run:
    """One thread that judges.

    Attributes:
        late: the input that it was left behind for.
    """

    def __init__(
        self, judging: Callable[..., Iterator[Judged]], inputs: list[Input], limit: float, progress: Advance
    ) -> None:
        self.late: Input | None = None
        self._judging, self._inputs, self._limit, self._progress = judging, inputs, limit, progress
        self._results: queue.Queue[Any] = queue.Queue(maxsize=2)
        self._given_up, self._now = threading.Event(), AtFile("", 0.0)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def results(self) -> Iterator[Judged]:
        """What the thread gives, until it ends or is late; raises what it raises."""
        try:
            while True:
                try:
                    result = self._results.get(timeout=POLL)
                except queue.Empty:
                    if self._limit and self._now.seconds > self._limit:
                        self.late = next(item for item in self._inputs if item.path == self._now.file)
                        return
                    continue
                if result is None:
                    return
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            self._given_up.set()
            leave_behind(self._thread, 0 if self.late else JOIN)

    def _work(self) -> None:
        try:
            with FileClock(self._note) as clock:
                for judged in self._judging(progress=self._move, at=clock.at):
                    clock.at("")  # the wait for whoever takes the verdict is not the file's
                    self._put(judged)
            self._put(None)
        except _GivenUp:
            pass
        except BaseException as error:  # noqa: BLE001 (raised again by the thread that waits)
            self._put(error)

    def _note(self, now: AtFile) -> None:
        self._now = now

    def _move(self, items: int = 1, note: str = "") -> None:
        if self._given_up.is_set():
            raise _GivenUp
        self._progress(items, note)

    def _put(self, result: Any) -> None:
        while not self._given_up.is_set():
            try:
                self._results.put(result, timeout=POLL)
                return
            except queue.Full:
                continue


class _GivenUp(Exception):  # noqa: N818 (nothing is wrong)
    """Nobody waits for the thread any more."""

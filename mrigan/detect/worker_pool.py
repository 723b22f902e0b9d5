"""Many inputs at once, one per worker process. A file that kills its worker affects no other file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mrigan.detect.findings import Findings
from mrigan.detect.inputs import Input, fingerprint
from mrigan.detect.judge import Judge, Judged
from mrigan.detect.look import expected_frames
from mrigan.detect.options import Options
from mrigan.errors import ModelError
from mrigan.progress import Advance, bar
from mrigan.threads import cores
from mrigan.workers.file_clock import FileClock
from mrigan.workers.pool import Busy, Died, Done, run_tasks


class JudgePool:
    """As `Judge.each`, by `workers` processes; verdicts come as they are ready.

    Args:
        judge: the same model in this process; it answers for inputs that take their worker down.
    """

    def __init__(self, judge: Judge, workers: int) -> None:
        self.judge, self.workers = judge, workers

    def each(
        self, inputs: list[Input], examples: int = 0, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Input, Judged]]:
        """Judge the inputs, in any order, under a progress bar; ends early when `stop()` turns true."""
        expected = dict(zip(inputs, expected_frames(inputs, self.judge.config), strict=True))
        done = dict.fromkeys(inputs, 0)
        threads = max(1, cores() // self.workers)
        setup = (str(self.judge.folder), self.judge.name, self.judge.options, examples, threads)
        with bar("analysing frames", sum(expected.values()), "frames") as advance:
            outcomes = run_tasks(
                _worker, setup, [(item, expected[item]) for item in inputs], workers=self.workers, stop=stop,
                seconds_per_file=self.judge.options.seconds_per_file,
            )  # fmt: skip
            files = 0
            for outcome in outcomes:
                item = outcome.task[0]
                if isinstance(outcome, Busy):
                    _move(advance, done, item, outcome.note, f"({files} of {len(inputs)} files done)")
                elif isinstance(outcome, Done):
                    files += 1
                    _move(advance, done, item, expected[item], f"({files} of {len(inputs)} files done)")
                    yield item, outcome.result
                elif isinstance(outcome, Died) and not outcome.again:
                    if isinstance(outcome.error, ModelError):  # no other file would fare better
                        raise outcome.error
                    files += 1
                    _move(advance, done, item, expected[item], f"({files} of {len(inputs)} files done)")
                    if outcome.late:
                        yield item, self.judge.answer(item, self.judge.too_late())
                        continue
                    error = f"judging it failed each time: {outcome.reason}"
                    yield item, self.judge.answer(item, Findings(error=error, file=fingerprint(item.path)))


def _move(advance: Advance, done: dict[Input, int], item: Input, frames: int, note: str) -> None:
    more = max(frames - done[item], 0)
    done[item] += more
    advance(more, note)


def _worker(
    folder: str, name: str, options: Options, examples: int, threads: int
) -> Callable[[tuple[Input, int], Callable[[Any], None]], Judged]:
    """A worker's judge; what it is called with is an input and the frames expected of it."""
    import torch

    torch.set_num_threads(threads)
    judge = Judge(folder, options, name=name)

    def work(task: tuple[Input, int], report: Callable[[Any], None]) -> Judged:
        item, expected = task
        seen = 0

        def progress(items: int = 1, note: str = "") -> None:
            nonlocal seen
            seen += items
            report(seen)

        with FileClock(report) as clock:
            return next(judge.judge([item], [expected], examples, progress, at=clock.at))

    return work

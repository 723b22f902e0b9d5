"""`mrigan detect`: inputs → judge → outputs, and the exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from mrigan.detect.inputs import Input, expand
from mrigan.detect.interrupts import Interrupts
from mrigan.detect.judge import Judge, Judged
from mrigan.detect.options import Options, Outputs
from mrigan.detect.sinks.fan_out import FanOut
from mrigan.detect.wording import validated
from mrigan.detect.worker_pool import JudgePool
from mrigan.errors import InputError
from mrigan.files import shown
from mrigan.terminal import say

ANSWERED, NOTHING, SOME_UNREADABLE, NOT_WRITTEN, STOPPED, INTERRUPTED = 0, 1, 3, 74, 75, 130
MIN_INPUTS_PER_WORKER = 4  # a worker takes seconds to start


def run(
    paths: Sequence[str],
    model: str | None,
    options: Options,
    outputs: Outputs = Outputs(),  # noqa: B008 (frozen)
    *,
    workers: int = 0,
    recursive: bool = False,
) -> int:
    """Judge `paths`, print each verdict when it is known, and write the outputs; returns the exit code.

    The verdicts that are known are also written if the run is stopped or ends with an error.

    Args:
        workers: processes; 0 = one per core if a CPU judges many inputs. recursive: enter the sub-folders of folders.

    Raises:
        InputError: there is nothing to judge, or a list cannot be read.
        OutputError: an output cannot be written; found before the first video.
        ConfigError: an output would overwrite an input, or holds another model's verdicts.
        ModelError: see `choose_model`.
    """
    inputs, skipped = expand(paths, options.pictures, recursive)
    for line in skipped:
        say(f"skipped {line}", style="dim")
    if not inputs:
        raise InputError(
            "there is no video and no picture here",
            where=", ".join(map(shown, paths)),
            fix="give videos, pictures, or folders that hold them",
        )
    out = FanOut(inputs, outputs, keep=[path[1:] for path in paths if path.startswith("@")])
    try:
        with Interrupts() as interrupts:
            try:
                judge = Judge(model, options)
                _introduce(judge)
                left = out.begin(judge)
                if len(left) < len(inputs):
                    say(f"{len(inputs) - len(left)} of {len(inputs)} files have a verdict from an earlier run")
                for item, judged in _by_workers(judge, left, out.faces_shown, workers):
                    with interrupts.held():
                        out.add(item, judged)
            finally:
                out.finish(skipped)
            out.complete()
    except KeyboardInterrupt:
        return _stopped(out)
    finally:
        out.close()
    return _summary(out)


def _introduce(judge: Judge) -> None:
    """Say what must be known of the model before its verdicts."""
    for line in judge.criteria.warnings:
        say(f"warning: {line}", style="bold yellow")
    if rates := validated(judge.about, judge.criteria.rule.name):
        say(f"on the files that chose the model's thresholds: {rates}", style="dim")


def _summary(out: FanOut) -> int:
    """Say what was written; returns the exit code."""
    for name in out.written:
        say(f"written: {name}")
    for name, why in out.failures.items():
        say(f"error: not written: {name}: {why}", style="bold red")
    if out.failures:
        return NOT_WRITTEN
    unreadable = sum(one.verdict.reason == "unreadable" for one in out.judged.values())
    return NOTHING if unreadable == len(out.inputs) else SOME_UNREADABLE if unreadable else ANSWERED


def _stopped(out: FanOut) -> int:
    """Say how far the run came, where its verdicts are, and how to continue; returns the exit code."""
    done = f"{len(out.judged)} of {len(out.inputs)} done"
    if len(out.judged) == len(out.inputs):
        say(f"stopped; {done}; some copies of --annotate are missing")
        return INTERRUPTED
    where = f", in {', '.join(out.written)}" if out.written else ""
    if out.resumable:
        say(f"stopped; {done}{where}; the same command continues")
        return STOPPED
    say(f"stopped; {done}{where}; the same command starts from the beginning; with --jsonl FILE it would continue")
    return INTERRUPTED


def _by_workers(judge: Judge, inputs: list[Input], examples: int, workers: int) -> Iterator[tuple[Input, Judged]]:
    cores = len(os.sched_getaffinity(0))
    if not workers:
        workers = 1 if judge.on_gpu else min(cores, len(inputs) // MIN_INPUTS_PER_WORKER)
    if workers > 1 and judge.folder is not None:
        yield from JudgePool(judge, min(workers, len(inputs))).each(inputs, examples)
    else:
        yield from zip(inputs, judge.each(inputs, examples), strict=True)

"""`mrigan detect`: verdicts as they become known, the files asked for, and the exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from mrigan.detect.case import Case
from mrigan.detect.inputs import Input, expand
from mrigan.detect.interrupts import Interrupts
from mrigan.detect.journal import Journal
from mrigan.detect.judge import Judge, Judged
from mrigan.detect.options import Options
from mrigan.detect.results import Destinations, Results
from mrigan.detect.wording import validated
from mrigan.errors import InputError
from mrigan.files import shown
from mrigan.terminal import say

ANSWERED, NOTHING, SOME_UNREADABLE, NOT_WRITTEN, STOPPED, INTERRUPTED = 0, 1, 3, 74, 75, 130
LEAST_EACH = 4  # inputs a worker, or it is not worth its start


def run(
    paths: Sequence[str],
    model: str | None,
    options: Options,
    *,
    json_out: str | None = None,
    jsonl_out: Path | None = None,
    html_out: Path | None = None,
    annotate_out: Path | None = None,
    case: Case | None = None,
    workers: int = 0,
    recursive: bool = False,
    force: bool = False,
) -> int:
    """Judge `paths`, print each verdict when it is known, write what was asked for; returns the exit code.

    The verdicts that are known are written also when the run is stopped, or ends with an error.

    Args:
        json_out: a file, or `-` for standard output. jsonl_out: gets each verdict as it comes; a later run goes on
            from it. annotate_out: a file that ends in .mp4 for one video, or a folder. case: what the page says of it.
        workers: processes, 0 = one a core where a processor judges many inputs; 1 = none but this one.
        recursive: folders stand for the files in their sub-folders, too.
        force: replace files that Mrigan did not write.

    Raises:
        InputError: there is nothing to judge, or a list cannot be read.
        OutputError: an output cannot be written; found before the first video.
        ConfigError: an output would overwrite an input, or goes on from another model's verdicts.
        ModelError: see `choose_model`.
    """
    inputs, skipped = expand(paths, options.pictures, recursive)
    for line in skipped:
        say(f"left out: {line}", style="dim")
    if not inputs:
        raise InputError(
            "no video and no picture in it",
            where=", ".join(map(shown, paths)),
            fix="give videos, pictures, or folders that hold them",
        )
    destinations = Destinations(json_out, jsonl_out, html_out, annotate_out, case, force)
    results = Results(inputs, destinations, [path[1:] for path in paths if path.startswith("@")])
    try:
        with Interrupts() as interrupts:
            try:
                judge = Judge(model, options)
                for line in judge.warnings:
                    say(f"warning: {line}", style="bold yellow")
                if rates := validated(judge.about):
                    say(f"on the videos that chose the model's thresholds: {rates}", style="dim")
                _judge(judge, results, interrupts, workers)
            finally:
                results.finish(skipped)
            results.annotate()
    except KeyboardInterrupt:
        return _stopped(results)
    for name in results.written:
        say(f"written: {name}")
    for name, why in results.failures.items():
        say(f"error: not written: {name}: {why}", style="bold red")
    unreadable = sum(one.verdict["reason"] == "unreadable" for one in results.judged.values())
    if results.failures:
        return NOT_WRITTEN
    return NOTHING if unreadable == len(inputs) else SOME_UNREADABLE if unreadable else ANSWERED


def _stopped(results: Results) -> int:
    """Say how far the run came, where its verdicts are, and how to go on."""
    done, journal = f"{len(results.judged)} of {len(results.inputs)} done", results.to.jsonl
    if len(results.judged) == len(results.inputs):
        say(f"stopped; {done}; the copies of --annotate are not complete")
        return INTERRUPTED
    where = f", in {', '.join(results.written)}" if results.written else ""
    if journal is not None and results.jsonl is not None and results.jsonl.file is not None:
        say(f"stopped; {done}{where}; the same command goes on")
        return STOPPED
    say(f"stopped; {done}{where}; the same command begins anew. With --jsonl FILE, it would go on")
    return INTERRUPTED


def _judge(judge: Judge, results: Results, interrupts: Interrupts, workers: int) -> None:
    """Judge the inputs that the journal does not know; its verdicts come first."""
    with ExitStack() as stack:
        journal = None
        if results.jsonl is not None:
            journal = stack.enter_context(Journal(results.jsonl, judge.about, results.to.force))
        todo = []
        for item in results.inputs:
            known = journal.known(item) if journal else None
            if known:
                results.add(item, Judged(known, item.picture, earlier=True))
            else:
                todo.append(item)
        if len(todo) < len(results.inputs):
            say(f"{len(results.inputs) - len(todo)} of {len(results.inputs)} were judged before")
        for item, judged in _by_workers(judge, todo, results.faces_shown, workers):
            with interrupts.held():
                results.add(item, judged, journal)


def _by_workers(judge: Judge, inputs: list[Input], examples: int, workers: int) -> Iterator[tuple[Input, Judged]]:
    cores = len(os.sched_getaffinity(0))
    if not workers:  # a worker takes seconds to start
        workers = 1 if judge.on_gpu else min(cores, len(inputs) // LEAST_EACH)
    if workers > 1 and judge.folder is not None:
        from mrigan.detect.crew import Crew

        yield from Crew(judge, min(workers, len(inputs))).each(inputs, examples)
    else:
        yield from zip(inputs, judge.each(inputs, examples), strict=True)

"""`mrigan detect`: the summary on the terminal, the files asked for, and the exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import typer

from mrigan.detect.inputs import Input, expand
from mrigan.detect.journal import Journal
from mrigan.detect.judge import Judge, Judged, Options
from mrigan.detect.rule import PAPERS
from mrigan.detect.verdict import DOUBTS
from mrigan.errors import ConfigError, InputError
from mrigan.files import write_text
from mrigan.progress import console
from mrigan.video.stills import shown

ANSWERED, NOTHING, SOME_UNREADABLE, STOPPED = 0, 1, 3, 75
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
    workers: int = 0,
) -> int:
    """Judge `paths`, print a line each, write JSON (`-` = standard output), JSON lines and page; returns the exit code.

    Args:
        annotate_out: a file for one video, or a folder: copies with the faces' boxes and probabilities.
        jsonl_out: gets each verdict as it comes; a later run goes on from it.
        workers: processes, 0 = one a core where a processor judges many inputs; 1 = none but this one.

    Raises:
        InputError: there is nothing to judge, or a list cannot be read.
        ConfigError: an output would overwrite an input, or goes on from another model's verdicts.
        ModelError: see `choose_model`.
    """
    inputs, skipped = expand(paths, options.pictures)
    for line in skipped:
        console.print(f"left out: {line}", markup=False, highlight=False, style="dim", soft_wrap=True)
    if not inputs:
        raise InputError(
            "no video and no picture in it",
            where=", ".join(map(shown, paths)),
            fix="give videos, pictures, or folders that hold them",
        )
    files = [out for out in (json_out if json_out != "-" else None, jsonl_out, html_out) if out is not None]
    _keep_inputs([item.path for item in inputs], files)
    copies: dict[Input, Path] = {}
    if annotate_out is not None:
        from mrigan.detect.annotate import annotate_all, targets

        copies = targets(inputs, annotate_out)
        _keep_inputs([item.path for item in inputs], list(copies.values()))
    shown_faces, report = 0, None
    if html_out is not None:
        from mrigan.detect.page import faces_shown
        from mrigan.detect.report import Report

        shown_faces, report = faces_shown(len(inputs)), Report(html_out, len(inputs))
    numbers = {item: number for number, item in enumerate(inputs, 1)}
    judge = Judge(model, options)
    found: dict[Input, Judged] = {}
    try:
        for item, judged in _judge(judge, inputs, jsonl_out, shown_faces, workers):
            found[item] = report.add(numbers[item], judged) if report else judged
    except KeyboardInterrupt:
        if jsonl_out is None:
            raise
        where = f"{len(found)} of {len(inputs)} verdicts are in {shown(os.fspath(jsonl_out))}"
        console.print(f"stopped; {where}; the same command goes on", markup=False, highlight=False, soft_wrap=True)
        return STOPPED
    judged_all = [found[item] for item in inputs]
    verdicts = [one.verdict for one in judged_all]
    if copies:
        for line in annotate_all({item: found[item].verdict for item in inputs}, copies):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if report is not None:
        report.finish(skipped)
    if json_out is not None:
        text = as_json(verdicts)
        if json_out == "-":
            typer.echo(text, nl=False)
        else:
            write_text(json_out, text)
    _summary(judged_all, printed=json_out == "-")
    for out in [*files, *([annotate_out] if copies and annotate_out else [])]:
        console.print(f"written: {shown(os.fspath(out))}", markup=False, highlight=False, soft_wrap=True)
    unreadable = sum(v["reason"] == "unreadable" for v in verdicts)
    return NOTHING if unreadable == len(verdicts) else SOME_UNREADABLE if unreadable else ANSWERED


def _judge(
    judge: Judge, inputs: list[Input], jsonl: Path | None, examples: int, workers: int
) -> Iterator[tuple[Input, Judged]]:
    """Each input with its verdict, in any order; those that the journal knows first."""
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(jsonl, judge.about)) if jsonl is not None else None
        todo = []
        for item in inputs:
            known = journal.known(item) if journal else None
            if known:
                yield item, Judged(known, item.picture, earlier=True)
            else:
                todo.append(item)
        if len(todo) < len(inputs):
            console.print(f"{len(inputs) - len(todo)} of {len(inputs)} were judged before", highlight=False)
        for item, judged in _by_workers(judge, todo, examples, workers):
            if journal:
                journal.add(judged.verdict)
            yield item, judged


def _by_workers(judge: Judge, inputs: list[Input], examples: int, workers: int) -> Iterator[tuple[Input, Judged]]:
    cores = len(os.sched_getaffinity(0))
    if not workers:  # a worker takes seconds to start
        workers = 1 if judge.on_gpu else min(cores, len(inputs) // LEAST_EACH)
    if workers > 1 and judge.folder is not None:
        from mrigan.detect.crew import Crew

        yield from Crew(judge, min(workers, len(inputs))).each(inputs, examples)
    else:
        yield from zip(inputs, judge.each(inputs, examples), strict=True)


def as_json(verdicts: Sequence[dict[str, Any]]) -> str:
    """The verdicts as a JSON list. ASCII, so that bytes of a path that are no UTF-8 come back as they were."""
    return json.dumps(verdicts, indent=1, allow_nan=False) + "\n"


def _summary(judged: Sequence[Judged], printed: bool) -> None:
    for one in judged:
        v = one.verdict
        if v["reason"] == "unreadable":
            why = v["not_analysed"][0]["detail"]
        elif v["verdict"] == "undecided":
            few = f"only {len(v['faces'])} {'face' if len(v['faces']) == 1 else 'faces'} found"
            why = {"no_face": "no face found", "too_few_faces": few, **DOUBTS}[v["reason"]]
        else:
            above = sum(face["prob"] > v["thresholds"]["frame"] for face in v["faces"])
            rule = v["rule"]
            share = f"{above} of {len(v['faces'])} faces above {v['thresholds']['frame']:g}"
            if rule["name"] != PAPERS:
                share = f"{rule['name']} {rule['score']:.2f}, fake from {rule['threshold']:.2f} on; {share}"
            why = f"{share}, probability {v['probability']:.2f}"
        line = f"{v['verdict']:<9}  {shown(v['path'])}: {why}"
        if printed:  # standard output holds the JSON alone
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(line)


def _keep_inputs(inputs: Sequence[str], outputs: Sequence[str | Path]) -> None:
    for out in outputs:
        if os.path.exists(out) and any(os.path.exists(path) and os.path.samefile(path, out) for path in inputs):
            raise ConfigError(
                "the output would overwrite an input",
                where=shown(os.fspath(out)),
                fix="give another name for it",
            )

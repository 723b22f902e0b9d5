"""`mrigan detect`: the summary on the terminal, the files asked for, and the exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from mrigan.detect.inputs import expand
from mrigan.detect.judge import Judge, Judged, Options
from mrigan.detect.verdict import DOUBTS
from mrigan.errors import ConfigError, InputError
from mrigan.files import write_text
from mrigan.progress import console
from mrigan.video.stills import shown

ANSWERED, NOTHING, SOME_UNREADABLE = 0, 1, 3


def run(
    paths: Sequence[str],
    model: str | None,
    options: Options,
    *,
    json_out: str | None = None,
    html_out: Path | None = None,
) -> int:
    """Judge `paths`, print a line each, write JSON (`-` = standard output) and page; returns the exit code.

    Raises:
        InputError: the folders given hold nothing to judge.
        ConfigError: an output would overwrite an input.
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
    files = [out for out in (json_out if json_out != "-" else None, html_out) if out is not None]
    _keep_inputs([item.path for item in inputs], files)
    shown_faces = 0
    if html_out is not None:
        from mrigan.detect.page import faces_shown, render

        shown_faces = faces_shown(len(inputs))
    judged = list(Judge(model, options).each(inputs, shown_faces))
    verdicts = [one.verdict for one in judged]
    if html_out is not None:
        write_text(html_out, render(judged, skipped))
    if json_out is not None:
        text = as_json(verdicts)
        if json_out == "-":
            typer.echo(text, nl=False)
        else:
            write_text(json_out, text)
    _summary(judged, printed=json_out == "-")
    for out in files:
        console.print(f"written: {shown(os.fspath(out))}", markup=False, highlight=False, soft_wrap=True)
    unreadable = sum(v["reason"] == "unreadable" for v in verdicts)
    return NOTHING if unreadable == len(verdicts) else SOME_UNREADABLE if unreadable else ANSWERED


def as_json(verdicts: Sequence[dict[str, Any]]) -> str:
    """The verdicts as a JSON list. ASCII, so that bytes of a path that are no UTF-8 come back as they were."""
    return json.dumps(verdicts, indent=1, allow_nan=False) + "\n"


def _summary(judged: Sequence[Judged], printed: bool) -> None:
    for one in judged:
        v = one.verdict
        if v["reason"] == "unreadable":
            why = v["not_analysed"][0]["detail"]
        elif v["verdict"] == "undecided":
            few = f"only {len(v['faces'])} faces found"
            why = {"no_face": "no face found", "too_few_faces": few, **DOUBTS}[v["reason"]]
        else:
            above = sum(face["prob"] > v["thresholds"]["frame"] for face in v["faces"])
            share = f"{above} of {len(v['faces'])} faces above {v['thresholds']['frame']:g}"
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
                fix="give another name after --json or --html",
            )

"""`mrigan detect`."""

from __future__ import annotations

import gc
import sys
from dataclasses import replace
from typing import Annotated

import typer

from mrigan.cli.fields import with_options
from mrigan.detect.options import Case, Options, Outputs, command_line
from mrigan.stopping import stopped_by_signals


@with_options
def detect(
    *,
    paths: Annotated[list[str], typer.Argument(metavar="VIDEO...", help="Videos, pictures, folders, patterns, @LIST.")],
    outputs: Outputs,
    options: Options,
    case: Case,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A folder, or models:/NAME@ALIAS of the registry; default: its champion.",
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Enter the sub-folders of a folder.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 = as many as help.")] = 0,
) -> None:
    """Judge videos: fake, real or undecided. Each verdict is printed when it is known. Exit codes: 0 all answered, 3
    some unreadable, 1 none, 2 wrong use, 74 an output could not be written, 75 stopped and --jsonl can go on, 130
    stopped."""
    # Imports make a million objects that stay. To look through them for garbage every 700 new ones costs a tenth of a
    # verdict on a picture.
    gc.set_threshold(50_000, 20, 100)
    with stopped_by_signals(75 if outputs.jsonl else 130):  # once it judges, it says how far it came
        from mrigan.detect.command import run
        from mrigan.time_limit import leave

        outputs = replace(outputs, case=replace(case, command=command_line(sys.argv[1:])))
        code = run(paths, model, options, outputs, workers=workers, recursive=recursive)
    leave(code)

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
    paths: Annotated[
        list[str], typer.Argument(metavar="VIDEO", help="Videos, pictures, folders, patterns, or @FILE with a list.")
    ],
    outputs: Outputs,
    options: Options,
    case: Case,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A model folder, or models:/NAME@ALIAS; default: the champion of the registry.",
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Include sub-folders.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes; 0 = chosen automatically.")] = 0,
) -> None:
    """Judge videos: fake, real or undecided.

    Each verdict is printed as soon as it is known. Exit codes:
    0 every input has a verdict (undecided is one), 3 some are unreadable
    1 no verdict, 2 wrong use, 74 an output could not be written
    75 stopped, the same command with --jsonl continues; 130 stopped
    """
    # Imports leave a million objects. Garbage collection after every 700 new ones costs 10 % of a verdict on a picture.
    gc.set_threshold(50_000, 20, 100)
    with stopped_by_signals(75 if outputs.jsonl else 130):  # `run` handles signals once it judges
        from mrigan.detect.command import run
        from mrigan.time_limit import leave

        outputs = replace(outputs, case=replace(case, command=command_line(sys.argv[1:])))
        code = run(paths, model, options, outputs, workers=workers, recursive=recursive)
    leave(code)

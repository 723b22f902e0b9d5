"""`mrigan health`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrigan.terminal import echo, echo_json


def health(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run.dir of a training.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how a training is: which rank is behind, in which phase, since when; and what it failed with.

    Reads the run's folder only, from any machine that sees it. Exit code 1: it is stuck, silent, hung, or has failed.
    """
    from mrigan.health.view import lines, look

    found = look(run)
    if as_json:
        echo_json(found.data())
    else:
        for line in lines(found):
            echo(line)
    if found.bad:
        raise typer.Exit(1)

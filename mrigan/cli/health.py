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
    """Show the state of a training: each rank's phase, which rank lags and for how long, and the first error.

    It only reads the run folder, so it works on any machine that has the folder.

    Exit code 1: the run is stuck, silent, hung, or failed.
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

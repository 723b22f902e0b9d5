"""`mrigan track`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrigan.terminal import echo

app = typer.Typer(no_args_is_help=True, help="What a training has kept because MLflow was away.")


@app.callback()
def _track() -> None:
    """What a training has kept because MLflow was away."""


@app.command("send")
def track_send(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run.dir of a training that has ended.")],
    uri: Annotated[str, typer.Option(help="Another MLflow than the one it was meant for.")] = "",
    patience: Annotated[float, typer.Option(min=0, help="Seconds to go on while MLflow fails.")] = 30.0,
) -> None:
    """Send metrics, files and models that MLflow did not get while the training ran. Nothing arrives twice."""
    from mrigan.tracking import send

    sent, run_id = send(run, uri, patience)
    echo(f"sent {sent} entries to MLflow's run {run_id}" if sent else "nothing is left to send")

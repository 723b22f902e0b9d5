"""`mrigan track`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrigan.terminal import echo

app = typer.Typer(no_args_is_help=True, help="Send what MLflow has not received of a training.")


@app.callback()
def _track() -> None:
    """Send what MLflow has not received of a training."""


@app.command("send")
def track_send(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run.dir of a training that has ended.")],
    uri: Annotated[str, typer.Option(help="Send everything to a new run in this MLflow store.")] = "",
    patience: Annotated[float, typer.Option(min=0, help="Seconds to retry while MLflow fails.")] = 30.0,
) -> None:
    """Send the metrics, files and models that MLflow has not received. Nothing is sent twice."""
    from mrigan.tracking import send

    sent, run_id = send(run, uri, patience)
    echo(f"sent {sent} lines of the log to MLflow's run {run_id}" if sent else "nothing to send: MLflow has everything")

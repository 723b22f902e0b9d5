"""The `mrigan` command: a thin file per sub-command."""

from __future__ import annotations

import errno
import io
import logging
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mrigan import __version__
from mrigan.cli import (
    animate,
    catalog,
    config,
    demo,
    detect,
    doctor,
    evaluate,
    health,
    models,
    sample,
    shards,
    track,
    train,
    weights,
)
from mrigan.errors import MriganError
from mrigan.stopping import Stopped
from mrigan.terminal import LineFormatter, echo, say, say_error
from mrigan.threads import settle

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPIPE, errno.EIO)


class _InOrder(TyperGroup):
    """Lists the commands in the order in which they are used, not groups after single ones."""

    def list_commands(self, ctx: Any) -> list[str]:
        order = (
            "demo",
            "sample",
            "animate",
            "catalog",
            "shards",
            "config",
            "train",
            "track",
            "models",
            "weights",
            "evaluate",
            "detect",
            "doctor",
            "health",
        )
        return sorted(super().list_commands(ctx), key=order.index)


app = typer.Typer(
    cls=_InOrder,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Train and run DeepFake-video detectors.",
)
app.command("demo")(demo.demo)
app.command("sample")(sample.sample)
app.command("animate")(animate.animate)
app.add_typer(catalog.app, name="catalog")
app.add_typer(shards.app, name="shards")
app.add_typer(config.app, name="config")
app.add_typer(train.app, name="train")
app.add_typer(track.app, name="track")
app.add_typer(models.app, name="models")
app.add_typer(weights.app, name="weights")
app.command("evaluate")(evaluate.evaluate)
app.command("detect")(detect.detect)
app.command("doctor")(doctor.doctor)
app.command("health")(health.health)


def _version(show: bool) -> None:
    if show:
        echo(f"mrigan {__version__}")
        raise typer.Exit


VersionOption = Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")]


@app.callback()
def _root(version: VersionOption = False) -> None:
    pass


def run() -> None:
    """Run the command; print expected errors in one piece, without a traceback."""
    settle()
    if logging.lastResort is not None:  # prints the warnings of commands that show no log
        logging.lastResort.setFormatter(LineFormatter())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show stops nothing
    try:
        app()
    except Stopped:
        raise
    except MriganError as error:
        say_error(error)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        say(f"error: {error.strerror}" + (f": {error.filename}" if error.filename else ""), style="bold red")
        sys.exit(1)

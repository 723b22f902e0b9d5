"""The `mrigan` command: one sub-command a job, each thin.

Exit codes: 0 done, 1 nothing could be done, 2 wrong use, 3 some inputs unreadable.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mrigan import __version__
from mrigan.errors import MriganError
from mrigan.progress import console

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
                  help="Train and run DeepFake-video detectors.")
catalog_app = typer.Typer(no_args_is_help=True, help="What videos exist: scan a data set, split by family, audit.")
shards_app = typer.Typer(no_args_is_help=True, help="Faces and MRIs in WebDataset tar shards: plan, build, verify.")
train_app = typer.Typer(no_args_is_help=True, help="Train MRI-GAN or a detector (many processes: torchrun launch/…).")
models_app = typer.Typer(no_args_is_help=True, help="The model registry, and published weights.")
app.add_typer(catalog_app, name="catalog")
app.add_typer(shards_app, name="shards")
app.add_typer(train_app, name="train")
app.add_typer(models_app, name="models")


def _version(show: bool) -> None:
    if show:
        typer.echo(f"mrigan {__version__}")
        raise typer.Exit


VersionOption = Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")]


@app.callback()
def _root(version: VersionOption = False) -> None:
    pass


# ------------------------------------------------------------------------------------------------------------- sample

# ------------------------------------------------------------------------------------------------------------ catalog

# ------------------------------------------------------------------------------------------------------------- shards

# -------------------------------------------------------------------------------------------------------------- train

# ------------------------------------------------------------------------------------------------------------- models

# ----------------------------------------------------------------------------------------------------------- evaluate

# ------------------------------------------------------------------------------------------------------------- detect


def main() -> None:
    """Run the command; print expected errors in one piece, without a traceback."""
    try:
        app()
    except MriganError as error:
        console.print("[bold red]error:[/] ", end="")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

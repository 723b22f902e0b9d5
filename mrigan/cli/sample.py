"""`mrigan sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrigan.terminal import echo


def sample(
    *,
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    people: Annotated[int, typer.Option(help="Number of invented people; two per part, five clips each.")] = 14,
    seconds: Annotated[float, typer.Option(help="Length of a clip, at 25 frames/s.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same bytes.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; 0 = one per core.")] = 0,
) -> None:
    """Make a small data set of invented people and their fakes in DFDC's layout. Not a benchmark; no download."""
    from mrigan.sample import make_sample

    folder = make_sample(out, people=people, seed=seed, seconds=seconds, workers=workers)
    echo(f"{folder}: next, mrigan catalog scan dfdc {folder} -o catalog.parquet")

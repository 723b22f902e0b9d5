"""`mrigan animate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrigan.terminal import echo

MAX_LINES = 20


def animate(
    *,
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURES...", help="Portraits, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder, or one with clips of the same settings.")],
    people: Annotated[
        Path | None,
        typer.Option(
            help="CSV with the columns file, person, licence. By default people.csv in each folder of pictures."
        ),
    ] = None,
    clips: Annotated[int, typer.Option(help="Clips of each picture.")] = 2,
    seconds: Annotated[float, typer.Option(help="Length of a clip.")] = 2.5,
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same bytes.")] = 0,
    dataset: Annotated[str, typer.Option(help="Name of the data set in the manifest.")] = "stills",
    workers: Annotated[int, typer.Option(help="Processes; 0 = one per core.")] = 0,
) -> None:
    """Make clips of still portraits, so that reals look like video. The same command continues an interrupted run."""
    from mrigan.animate import animate

    made = animate(
        pictures, out, people=people, clips=clips, seconds=seconds, seed=seed, dataset=dataset, workers=workers
    )
    for still, reason in made.skipped[:MAX_LINES]:
        echo(f"- skipped {still.path}: {reason}")
    if len(made.skipped) > MAX_LINES:
        echo(f"- and {len(made.skipped) - MAX_LINES} more")
    if made.skipped:
        echo(f"{len(made.skipped)} pictures were skipped")
    if made.strangers:
        echo(f"{made.strangers} pictures name no person: a person's pictures may get into different splits")
    echo(f"{made.manifest}: {made.clips} clips; next, mrigan catalog scan manifest {made.manifest} -o catalog.parquet")

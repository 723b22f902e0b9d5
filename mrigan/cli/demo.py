"""`mrigan demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for all results of the demo.")] = Path("demo"),
    people: Annotated[int, typer.Option(help="Number of invented people in the sample.")] = 28,
    seed: Annotated[int, typer.Option(help="Random seed of the sample.")] = 0,
) -> None:
    """Run the whole pipeline on a generated sample, from videos to a verdict. A second run reuses finished steps."""
    from mrigan.demo import run_demo

    run_demo(out, people, seed)

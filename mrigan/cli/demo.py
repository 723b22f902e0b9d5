"""`mrigan demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all that the demo makes.")] = Path("demo"),
    people: Annotated[int, typer.Option(help="Invented people in the sample.")] = 28,
    seed: Annotated[int, typer.Option(help="Draws the sample.")] = 0,
) -> None:
    """Run the whole job on an embedded sample, from videos to a verdict; a second run reuses what is done."""
    from mrigan.demo import run_demo

    run_demo(out, people, seed)

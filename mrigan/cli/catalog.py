"""`mrigan catalog`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="What videos exist: scan a data set, split by family, audit.")


@app.command("scan")
def catalog_scan(
    *,
    reader: Annotated[str, typer.Argument(metavar="dfdc|manifest", help="What ROOT is.")],
    root: Annotated[Path, typer.Argument(help="The data set's folder, or the manifest (CSV, JSON lines).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The catalog to write (Parquet).")],
    val: Annotated[float, typer.Option(min=0, max=1, help="Fraction of the clips for validation.")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=1, help="Fraction of the clips for the test.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Draws the splits.")] = 0,
    base: Annotated[Path | None, typer.Option("--root", help="Where the manifest's paths start.")] = None,
) -> None:
    """List the clips of a data set, split them by family and people, and write the catalog."""
    from rich.console import Console

    from mrigan.catalog import scan_catalog, summary_table, write_catalog

    fractions = {"train": round(1 - val - test, 9), "val": val, "test": test}
    catalog, result = scan_catalog(reader, root, base=base, fractions=fractions, seed=seed)
    write_catalog(catalog, out)
    Console().print(summary_table(catalog))
    for line in (*result.problems, *result.notes):
        typer.echo(f"- {line}")
    typer.echo(f"{out}: {len(catalog)} clips, hash {catalog.hash[:12]}")


@app.command("audit")
def catalog_audit(path: Annotated[Path, typer.Argument(metavar="CATALOG", help="Made by `catalog scan`.")]) -> None:
    """Prove that no family, original, person, group or file is on two sides; exit code 1 and a list where one is."""
    from mrigan.catalog import audit, read_catalog
    from mrigan.errors import CatalogError

    catalog = read_catalog(path)
    if not any(clip.split for clip in catalog.clips):
        raise CatalogError("no clip of this catalog has a split", where=path, fix="scan the data set again")
    leaks = audit(catalog)
    for leak in leaks:
        typer.echo(f"leak: {leak}")
    typer.echo(f"{path}: {len(leaks)} leaks" if leaks else f"{path}: {len(catalog)} clips, no leak")
    if leaks:
        raise typer.Exit(1)

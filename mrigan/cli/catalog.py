"""`mrigan catalog`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrigan.cli.options import ForceOption
from mrigan.terminal import echo

if TYPE_CHECKING:
    from mrigan.catalog import Catalog

app = typer.Typer(no_args_is_help=True, help="What videos exist: scan data sets, split by family, merge, audit.")
READER = "dfdc|dfdc-preview|dfdc-test|celeb-df|faceforensics|uadfv|ffhq|fdf|folder|manifest"
Out = Annotated[Path, typer.Option("--out", "-o", help="The catalog to write (Parquet).")]


@app.command("scan")
def catalog_scan(
    *,
    reader: Annotated[str, typer.Argument(metavar=READER, help="What ROOT is.")],
    root: Annotated[Path, typer.Argument(help="The data set's folder, or the manifest (CSV, JSON lines).")],
    out: Out,
    splits: Annotated[
        Path | None, typer.Option(help="Your copy of the official lists (file or folder): split as published.")
    ] = None,
    val: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fraction for validation, 0.1; with --splits: of what is open.")
    ] = None,
    test: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fraction for the test, 0.1; with --splits: of what is open.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws splits and families.")] = 0,
    relax_donors: Annotated[
        bool, typer.Option("--relax-donors", help="Separate by the people on show, not by those whose face is put in.")
    ] = False,
    take: Annotated[float, typer.Option(help="Keep this fraction of the clips, by whole families.")] = 1.0,
    base: Annotated[Path | None, typer.Option("--root", help="Where the manifest's paths start.")] = None,
    force: ForceOption = False,
) -> None:
    """List the clips of a data set, compare it with what is published, split it by family and people."""
    from mrigan.catalog import refuse_no_catalog, scan_catalog, write_catalog
    from mrigan.files import try_output

    try_output(out)
    refuse_no_catalog(out, force)
    fractions = None
    if val is not None or test is not None:
        other = 0.1 if splits is None else 0.0
        val, test = (other if share is None else share for share in (val, test))
        fractions = {"train": round(1 - val - test, 9), "val": val, "test": test}
    catalog, result = scan_catalog(
        reader, root, splits=splits, base=base, fractions=fractions, seed=seed, relax_donors=relax_donors, taken=take
    )
    write_catalog(catalog, out, force)
    _show(catalog)
    if result.differences is not None:
        complete = "the copy is complete: all that is published is here, and nothing else"
        echo("this copy is not what is published:" if result.differences else complete)
    for line in (*(result.differences or ()), *result.problems, *result.notes):
        echo(f"- {line}")
    _written(catalog, out)


@app.command("merge")
def catalog_merge(
    *,
    catalogs: Annotated[list[Path], typer.Argument(metavar="CATALOG...", help="Made by `catalog scan`.")],
    out: Out,
    take: Annotated[
        list[str], typer.Option(metavar="DATASET=FRACTION", help="Keep this fraction of a data set, by whole families.")
    ] = [],  # noqa: B006 (typer reads it)
    root: Annotated[
        list[str], typer.Option(metavar="DATASET=FOLDER", help="Where a data set lies on this machine.")
    ] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Draws the families.")] = 0,
    force: ForceOption = False,
) -> None:
    """Put several data sets into one catalog, as they are split; or take a part of one, or move its folder."""
    from mrigan.catalog import merge_catalogs, move_roots, read_catalog, refuse_no_catalog, write_catalog
    from mrigan.catalog import take as take_families
    from mrigan.files import try_output

    try_output(out)
    refuse_no_catalog(out, force)
    fractions = {dataset: _fraction(value) for dataset, value in _pairs(take, "--take")}
    roots = {dataset: Path(value) for dataset, value in _pairs(root, "--root")}
    given = [read_catalog(path) for path in catalogs]
    catalog = merge_catalogs(given)
    before = {clip.id: clip for one in given for clip in one.clips}
    joined = sum(clip.family != before[clip.id].family for clip in catalog.clips)
    moved = sum(clip.split != before[clip.id].split for clip in catalog.clips)
    catalog = take_families(move_roots(catalog, roots), fractions, seed)
    write_catalog(catalog, out, force)
    _show(catalog)
    if joined:
        echo(f"- {joined} clips have a missing original that another data set names or has: one family with it")
    if moved:
        echo(f"- {moved} clips moved to the side of such families")
    _written(catalog, out)


@app.command("show")
def catalog_show(path: Annotated[Path, typer.Argument(metavar="CATALOG", help="Made by `catalog scan`.")]) -> None:
    """What a catalog holds, where it lies, and how it was split."""
    from mrigan.catalog import file_sizes, read_catalog

    catalog = read_catalog(path)
    _show(catalog)
    missing = file_sizes(catalog).count(-1)
    if missing:
        echo(f"- {missing} of {len(catalog)} clips are not there: `catalog merge` moves roots by --root")
    _written(catalog, path)


@app.command("audit")
def catalog_audit(path: Annotated[Path, typer.Argument(metavar="CATALOG", help="Made by `catalog scan`.")]) -> None:
    """Prove that no family, original, person, upload, group or file is on two sides; exit code 1 and a list."""
    from mrigan.catalog import audit, file_sizes, missing_originals, read_catalog
    from mrigan.errors import CatalogError

    catalog = read_catalog(path)
    if not any(clip.split for clip in catalog.clips):
        raise CatalogError("no clip of this catalog has a split", where=path, fix="scan the data set again")
    sizes = file_sizes(catalog)
    leaks = audit(catalog, sizes)
    for leak in leaks:
        echo(f"{'allowed' if leak.allowed else 'leak'}: {leak}")
    absent = missing_originals(catalog)
    for key, fakes in absent.items():
        more = f" and {len(fakes) - 1} more" if len(fakes) > 1 else ""
        echo(f"missing original: {key}, of {fakes[0].id}{more}")
    if absent:
        echo(f"{len(absent)} originals are named and not there: what they show is not compared")
    missing, unsplit = sizes.count(-1), sum(not clip.split for clip in catalog.clips)
    if missing:
        echo(f"{missing} clips are not there: their contents are not compared")
    if unsplit:
        echo(f"{unsplit} clips have no split and are on no side")
    allowed = sum(leak.allowed for leak in leaks)
    if allowed:
        echo(f"{allowed} donors on another side than their faces: allowed, donors were relaxed by the scan")
    kinds = Counter(leak.kind for leak in leaks if not leak.allowed)
    if not kinds:
        echo(f"{path}: {len(catalog)} clips, no leak")
        return
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    echo(f"{path}: {kinds.total()} leak{'s' * (kinds.total() > 1)}: {counted}")
    if kinds["unclear original"]:
        echo("name these originals by their whole path, so that one file fits, and scan again")
    raise typer.Exit(1)


def _show(catalog: Catalog) -> None:
    from mrigan.catalog import making_lines, summary_table
    from mrigan.terminal import Console

    Console().print(summary_table(catalog))
    for line in making_lines(catalog):
        echo(f"- {line}")


def _written(catalog: Catalog, path: Path) -> None:
    echo(f"{path}: {len(catalog)} clips, hash {catalog.hash[:12]}")


def _pairs(given: list[str], option: str) -> list[tuple[str, str]]:
    from mrigan.errors import ConfigError

    pairs = [value.partition("=") for value in given]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise ConfigError(
                f"{option} {name}{equals}{value}: not DATASET=VALUE", fix=f"for example {option} dfdc=..."
            )
    return [(name, value) for name, _, value in pairs]


def _fraction(text: str) -> float:
    from mrigan.errors import ConfigError

    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--take: {text!r} is no number", fix="for example --take dfdc=0.5") from None

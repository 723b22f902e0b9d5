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

app = typer.Typer(
    no_args_is_help=True, help="Scan data sets into a catalog, split it by family, merge catalogs, check for leaks."
)
READER = "dfdc|dfdc-preview|dfdc-test|celeb-df|faceforensics|uadfv|ffhq|fdf|folder|manifest"
Out = Annotated[Path, typer.Option("--out", "-o", help="The catalog to write (Parquet).")]


@app.command("scan")
def catalog_scan(
    *,
    reader: Annotated[str, typer.Argument(metavar=READER, help="The kind of data set that ROOT is.")],
    root: Annotated[Path, typer.Argument(help="The data set's folder, or the manifest (CSV, JSON lines).")],
    out: Out,
    splits: Annotated[
        Path | None, typer.Option(help="Split as published, by your copy of the official lists (file or folder).")
    ] = None,
    val: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fraction for validation; 0.1. With --splits: of unlisted clips.")
    ] = None,
    test: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fraction for the test; 0.1. With --splits: of unlisted clips.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of splits and --take.")] = 0,
    relax_donors: Annotated[
        bool, typer.Option("--relax-donors", help="A fake and the person whose face it has may be in different splits.")
    ] = False,
    take: Annotated[float, typer.Option(help="Keep this fraction of the clips, by whole families.")] = 1.0,
    base: Annotated[Path | None, typer.Option("--root", help="Folder that a manifest's paths are relative to.")] = None,
    force: ForceOption = False,
) -> None:
    """List the clips of a data set, compare it with the published one, split it by family and people."""
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
        complete = "this copy is complete: it has all published files and no other files"
        echo("this copy differs from the published data set:" if result.differences else complete)
    for line in (*(result.differences or ()), *result.problems, *result.notes):
        echo(f"- {line}")
    _written(catalog, out)


@app.command("merge")
def catalog_merge(
    *,
    catalogs: Annotated[list[Path], typer.Argument(metavar="CATALOG", help="Made by `catalog scan`.")],
    out: Out,
    take: Annotated[
        list[str], typer.Option(metavar="DATASET=FRACTION", help="Keep this fraction of a data set, by whole families.")
    ] = [],  # noqa: B006 (typer reads it)
    root: Annotated[
        list[str], typer.Option(metavar="DATASET=FOLDER", help="The folder of a data set on this machine.")
    ] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Random seed of --take.")] = 0,
    force: ForceOption = False,
) -> None:
    """Merge several catalogs and keep their splits; or keep a part of one, or change its folder."""
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
        echo(f"- {joined} clips joined a family of another data set that has or names the same missing original")
    if moved:
        echo(f"- {moved} clips moved to the split of such a family")
    _written(catalog, out)


@app.command("show")
def catalog_show(path: Annotated[Path, typer.Argument(metavar="CATALOG", help="Made by `catalog scan`.")]) -> None:
    """Show the contents of a catalog, its folders, and how it was split."""
    from mrigan.catalog import file_sizes, read_catalog

    catalog = read_catalog(path)
    _show(catalog)
    missing = file_sizes(catalog).count(-1)
    if missing:
        echo(f"- {missing} of {len(catalog)} files are missing; to change their folder: `catalog merge --root`")
    _written(catalog, path)


@app.command("audit")
def catalog_audit(path: Annotated[Path, typer.Argument(metavar="CATALOG", help="Made by `catalog scan`.")]) -> None:
    """Prove that no family, original, person, upload, group or file is in two splits; exit code 1: a leak."""
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
        echo(f"{len(absent)} originals are named but missing: the people in them were not compared")
    missing, unsplit = sizes.count(-1), sum(not clip.split for clip in catalog.clips)
    if missing:
        echo(f"{missing} files are missing: their contents were not compared")
    if unsplit:
        echo(f"{unsplit} clips have no split and were not compared")
    allowed = sum(leak.allowed for leak in leaks)
    if allowed:
        echo(f"{allowed} donors are in another split than their faces; allowed, since the scan had --relax-donors")
    kinds = Counter(leak.kind for leak in leaks if not leak.allowed)
    if not kinds:
        echo(f"{path}: {len(catalog)} clips, no leak")
        return
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    echo(f"{path}: {kinds.total()} leak{'s' * (kinds.total() > 1)}: {counted}")
    if kinds["unclear original"]:
        echo("write the whole path of these originals, so that one file fits, and scan again")
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
        raise ConfigError(f"--take: {text!r} is not a number", fix="for example --take dfdc=0.5") from None

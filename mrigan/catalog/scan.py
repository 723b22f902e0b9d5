"""A folder of videos becomes a catalog with splits, and a summary for a person."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from mrigan.catalog.clips import SPLITS, Catalog
from mrigan.catalog.readers import READERS, ScanResult, read_manifest
from mrigan.catalog.splits import DEFAULT_FRACTIONS, assign_splits, check_fractions, components, official_splits
from mrigan.errors import ConfigError


def scan_catalog(
    reader: str,
    root: str | Path,
    *,
    base: str | Path | None = None,
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    seed: int = 0,
) -> tuple[Catalog, ScanResult]:
    """List the clips of `root` with the reader of that name, and split them.

    Args:
        root: the data set's folder, or the manifest.
        base: the folder that a manifest's paths are relative to, where it is not the manifest's own.
        fractions, seed: see `assign_splits`; unused where the reader found official splits.

    Raises:
        ConfigError: unknown reader, impossible fractions. CatalogError: see the reader.
    """
    if reader not in READERS:
        close = difflib.get_close_matches(reader, READERS, n=1)
        raise ConfigError(
            f"no reader {reader}", fix=f"did you mean {close[0]}?" if close else f"readers: {', '.join(READERS)}"
        )
    if base is not None and reader != "manifest":
        raise ConfigError(f"--root goes with a manifest; {reader} knows where its videos lie")
    check_fractions(fractions)
    result = read_manifest(Path(root), Path(base)) if base is not None else READERS[reader](Path(root))
    catalog = Catalog(result.root.resolve(), result.clips)
    if result.official:
        catalog = official_splits(catalog)
    else:
        catalog = assign_splits(catalog, fractions, seed)
        result.notes.extend(_thin(catalog, [split for split in SPLITS if fractions.get(split, 0) > 0]))
    return catalog, result


def summary_table(catalog: Catalog) -> Table:
    """Clips by data set, method, compression and split; families and separable groups below."""
    unsplit = any(not clip.split for clip in catalog.clips)
    splits = [*SPLITS, *([""] if unsplit else [])]
    table = Table(show_footer=False)
    for name in ("data set", "method", "compression"):
        table.add_column(name)
    for split in splits:
        table.add_column(split or "no split", justify="right")
    table.add_column("all", justify="right")
    for key, counts in catalog.summary().items():
        table.add_row(*(part or "-" for part in key), *(str(counts[split]) for split in splits), str(counts.total()))
    table.add_section()
    families, groups = catalog.families(), components(catalog)
    for label, sides in (
        ("clips", [clip.split for clip in catalog.clips]),
        ("families", [family.split for family in families]),
        ("separable groups", [clips[0].split for clips in groups]),
    ):
        table.add_row(label, "", "", *(str(sides.count(split)) for split in splits), str(len(sides)))
    return table


def _thin(catalog: Catalog, splits: list[str]) -> list[str]:
    """What a split lacks because there are too few separable groups."""
    notes = []
    for split in splits:
        lacking = sorted({"real", "fake"} - {clip.label for clip in catalog.clips if clip.split == split})
        if lacking:
            too_few = f"too few separable groups ({len(components(catalog))})"
            notes.append(f"{split} has no {' and no '.join(lacking)}: {too_few}")
    return notes

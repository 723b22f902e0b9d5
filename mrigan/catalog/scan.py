"""Scan a folder of videos: read its clips, split them, and summarize the catalog."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rich.table import Table

from mrigan.catalog.clips import SPLITS, Catalog, Clip, Making
from mrigan.catalog.combine import take
from mrigan.catalog.official import Drawn, left_open, official_splits
from mrigan.catalog.readers import READERS, ScanResult, read_manifest
from mrigan.catalog.splits import DEFAULT_FRACTIONS, assign_splits, check_fractions, components
from mrigan.errors import ConfigError

RELAX = (
    ". --relax-donors separates only by the people who are seen; the catalog records it, and the audit lists every "
    "donor whose face is in another split"
)


def scan_catalog(
    reader: str,
    root: str | Path,
    *,
    splits: str | Path | None = None,
    base: str | Path | None = None,
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    relax_donors: bool = False,
    taken: float = 1.0,
) -> tuple[Catalog, ScanResult]:
    """List the clips of `root` with the named reader, and split them.

    Args:
        root: the data set's folder, or the manifest.
        splits: the user's copy of the publisher's lists, to split as published; None = draw the splits.
        base: the folder that a manifest's paths are relative to; by default the manifest's folder.
        fractions: of the clips in train, val and test; by default 0.8, 0.1 and 0.1. With official splits they apply to
            the clips that the lists leave open (see `official_splits`), which by default get no split.
        seed, relax_donors: see `assign_splits`.
        taken: the fraction of the clips to keep, by whole families (see `take`).

    Raises:
        ConfigError: unknown reader, impossible fractions, lists for a data set that has none.
        CatalogError: see the reader.
    """
    if reader not in READERS:
        close = difflib.get_close_matches(reader, READERS, n=1)
        raise ConfigError(
            f"no reader {reader}", fix=f"did you mean {close[0]}?" if close else f"readers: {', '.join(READERS)}"
        )
    if base is not None and reader != "manifest":
        raise ConfigError(f"--root is for a manifest; {reader} knows the folders of its videos")
    if fractions is not None:
        check_fractions(fractions)
    lists = None if splits is None else Path(splits)
    read = READERS[reader] if base is None else partial(read_manifest, base=Path(base))
    result = read(Path(root), lists)
    making = {
        name: Making(scope=result.scope, unclear=result.unclear.get(name), absent=result.absent.get(name))
        for name in result.datasets
    }
    catalog = Catalog(result.root.resolve(), result.clips, making)
    drawn: list[Drawn] = []
    if result.official:
        drawn = [] if fractions is None else left_open(catalog, fractions)
        catalog = official_splits(catalog, fractions, seed, relax_donors)
    else:
        shares = dict(DEFAULT_FRACTIONS if fractions is None else fractions)
        drawn = [(catalog, shares)]
        catalog = assign_splits(catalog, shares, seed, relax_donors)
    split_of = {clip.id: clip.split for clip in catalog.clips}
    for part, shares in drawn:
        result.notes.extend(_notes_on_chains(part, shares, relax_donors).values())
        split = catalog if len(part) == len(catalog) else part.with_splits(split_of)
        result.notes.extend(_notes_on_gaps(split, shares, relax_donors))
    if taken != 1:
        catalog = take(catalog, dict.fromkeys(catalog.roots, taken), seed)
    return catalog, result


def summary_table(catalog: Catalog) -> Table:
    """Clips by data set, method, compression and split; below, the numbers of families and separable groups."""
    unsplit = any(not clip.split for clip in catalog.clips)
    splits = [*SPLITS, *([""] if unsplit else [])]
    table = Table(show_footer=False)
    for name in ("data set", "method", "compression"):
        table.add_column(name, overflow="fold")
    for split in splits:
        table.add_column(split or "no split", justify="right")
    table.add_column("all", justify="right")
    for key, counts in catalog.summary().items():
        table.add_row(*(part or "-" for part in key), *(str(counts[split]) for split in splits), str(counts.total()))
    table.add_section()
    families = catalog.by_family()
    groups = components(catalog, any(made.relax_donors for made in catalog.making.values()))
    for label, of_split in (
        ("clips", [clip.split for clip in catalog.clips]),
        ("families", [_split_of(key, clips) for key, clips in families.items()]),
        ("separable groups", [clips[0].split for clips in groups]),
    ):
        table.add_row(label, "", "", *(str(of_split.count(split)) for split in splits), str(len(of_split)))
    return table


def _split_of(family: str, clips: list[Clip]) -> str:
    """The split of the family's original, in case a published list puts the family into several splits."""
    return next((clip.split for clip in clips if clip.id == family), clips[0].split)


def making_lines(catalog: Catalog) -> list[str]:
    """One line a data set: its folder, how it was split, and which fraction was kept."""
    lines = []
    for dataset, made in catalog.making.items():
        parts = [{"official": "split as published", "drawn": "split by Mrigan", "": "not split"}[made.splits]]
        if made.fractions is not None:
            shares = ", ".join(f"{split} {share:g}" for split, share in made.fractions.items())
            parts.append(f"drawn by {shares} (seed {made.seed})")
        if made.relax_donors:
            parts.append("donors relaxed: a person and the fakes with that person's face may be in different splits")
        if made.taken != 1:
            parts.append(f"a fraction of {made.taken:g} kept, by whole families (seed {made.take_seed})")
        lines.append(f"{dataset} in {catalog.roots[dataset]}: {'; '.join(parts)}")
    return lines


def _notes_on_chains(catalog: Catalog, fractions: Mapping[str, float], relax_donors: bool) -> dict[str, str]:
    """Data set → a warning if one component holds more clips of a method than any split should."""
    room = max(fractions.values()) / sum(fractions.values()) + 0.02
    sizes = Counter((clip.dataset, clip.method) for clip in catalog.clips)
    notes: dict[str, str] = {}
    for clips in components(catalog, relax_donors):
        parts = Counter((clip.dataset, clip.method) for clip in clips)
        over = [key for key, count in sorted(parts.items()) if 1 < count > room * sizes[key]]
        for dataset in dict.fromkeys(dataset for dataset, _ in over):
            shares = ", ".join(
                f"{parts[key] / sizes[key]:.0%} of {key[1] or 'the fakes'}" for key in over if key[0] == dataset
            )
            notes[dataset] = (
                f"{sum(count for key, count in parts.items() if key[0] == dataset)} clips of {dataset} are linked by "
                f"shared people, uploads or groups ({shares}) and must be in one split; the other clips are too few "
                "for the requested fractions"
            )
    if notes and not relax_donors:
        still = _notes_on_chains(catalog, fractions, relax_donors=True)
        notes = {dataset: note if dataset in still else note + RELAX for dataset, note in notes.items()}
    return notes


def _notes_on_gaps(catalog: Catalog, fractions: Mapping[str, float], relax_donors: bool) -> list[str]:
    """A note for each split that lacks a label because there are too few separable groups."""
    notes = []
    for split in SPLITS:
        if not fractions.get(split):
            continue
        lacking = sorted({clip.label for clip in catalog.clips} - {c.label for c in catalog.clips if c.split == split})
        if lacking:
            too_few = f"too few separable groups ({len(components(catalog, relax_donors))})"
            notes.append(f"{split} has no {' and no '.join(lacking)}: {too_few}")
    return notes

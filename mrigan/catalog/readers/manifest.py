"""Reader of a manifest of own data, as CSV or JSON lines. Only `path` and `label` are required.

Columns: path, label (real, fake, 0, 1, false, true; 1 and true = fake), original (the path of another row), identity or
targets, donor or donors (several joined by ";", in JSON also lists), method, dataset, compression, name, group, source
(the upload that a clip was cut from), donor_source or donor_sources, split or official_split.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mrigan.catalog.clips import ORIGINAL, Clip
from mrigan.catalog.readers.common import MISSING, Problems, ScanResult, no_lists, unique
from mrigan.catalog.readers.folder import Tree
from mrigan.catalog.readers.manifest_fields import (
    SPLIT_NAMES,
    label_of,
    notes_on_names,
    people_of,
    same_numbers,
    text_of,
)
from mrigan.catalog.readers.manifest_originals import Listed, plain, tie
from mrigan.catalog.readers.manifest_rows import LAYOUT, Rows
from mrigan.errors import CatalogError

COLUMNS = {"path", "label", "original", "identity", "targets", "donor", "donors", "method", "dataset", "compression",
           "name", "group", "source", "donor_source", "donor_sources", "split", "official_split"}  # fmt: skip
IGNORED = {"clip", "family", "frames", "fps", "width", "height", "duration", "codec", "bytes", "sha256", "note",
           "licence"}  # fmt: skip


def read_manifest(manifest: Path, splits: Path | None = None, base: Path | None = None) -> ScanResult:
    """The clips that `manifest` lists; their paths are relative to `base`, by default the manifest's folder.

    All data sets of the manifest share the names of people, groups and uploads.

    Raises:
        CatalogError: unreadable, a missing column, an unknown label, a path out of `base`, splits for some clips only,
            no clips.
    """
    no_lists(splits, "manifest", "the column split of the manifest is used")
    manifest = Path(manifest)
    base = manifest.parent if base is None else Path(base)
    if not manifest.is_file():
        raise CatalogError("no such manifest", where=manifest, fix=LAYOUT)
    if not base.is_dir():
        raise CatalogError("no such folder", where=base, fix="--root is the folder that the paths are relative to")
    rows, problems, unknown = Rows(manifest), Problems(), set[str]()
    listed = _listed(rows, base, unknown)
    problems.extend("skipped: listed but not on disk", (path for path, row in listed.items() if not row.exists))
    if not any(row.exists for row in listed.values()):
        reasons = "; ".join(map(str, problems.counted())) or "the manifest has no rows"
        raise CatalogError(f"no clips found: {reasons}", where=manifest, fix=LAYOUT)
    tied = tie(listed, base)
    clips, equal = same_numbers(unique(tied.clips, manifest))
    for clip in clips:
        if clip.label == "fake" and clip.original is None:
            problems.add(MISSING, clip.path)
    with_split = sum(bool(clip.official_split) for clip in clips)
    if 0 < with_split < len(clips):
        raise CatalogError(
            f"{with_split} of {len(clips)} clips have a split",
            where=manifest,
            fix="give every clip a split, or no clip (then splits are drawn by family)",
        )
    named = sorted(name for name in unknown if name)
    notes = [f"columns not used: {', '.join(named)}"] if named else []
    notes += [*rows.notes, *equal, *notes_on_names(clips), *tied.notes]
    if with_split:
        notes.append("the splits of the manifest are used")
    datasets = sorted({clip.dataset for clip in clips})
    scope = "+".join(datasets) if len(datasets) > 1 else ""
    return ScanResult(
        base,
        clips,
        problems.counted(),
        notes,
        official=bool(with_split),
        scope=scope,
        unclear=tied.unclear,
        absent=tied.absent,
    )


def _listed(rows: Rows, base: Path, unknown: set[str]) -> dict[str, Listed]:
    """Path → row; columns that are not used are added to `unknown`."""
    listed: dict[str, Listed] = {}
    tree = Tree(base)
    for line, row in rows:
        unknown |= row.keys() - COLUMNS - IGNORED
        one = _row(row, rows.manifest, line, tree)
        path = one.clip.path
        if path in listed:
            raise CatalogError(
                f"{path} is listed twice",
                where=f"{rows.manifest}, line {line} and line {listed[path].line}",
                fix="remove one of the two lines; if their labels differ, check which one is right",
            )
        listed[path] = one
    return listed


def _row(row: dict[str, Any], manifest: Path, line: int, tree: Tree) -> Listed:
    """The clip without its original, and the name of its original."""
    where = f"{manifest}, line {line}"
    path = tree.relative(plain(text_of(row, "path", where)))
    exists = tree.has(path, where)
    if not exists and "\\" in path:  # written on Windows
        path = plain(path.replace("\\", "/"))
        exists = tree.has(path, where)
    original = text_of(row, "original", where)
    label = label_of(row, path, where)
    split = text_of(row, "official_split", where) or text_of(row, "split", where)
    if split and split.lower() not in SPLIT_NAMES:
        raise CatalogError(f"split {split!r} of {path}", where=where, fix="splits are train, val and test")
    if label == "real" and original and plain(original.replace("\\", "/")) != path:
        raise CatalogError(
            f"{path} is real and has an original",
            where=where,
            fix="leave original empty for real clips; to keep clips in one split, give them the same group",
        )
    clip = Clip(
        dataset=text_of(row, "dataset", where) or manifest.stem,
        method=ORIGINAL if label == "real" else text_of(row, "method", where),
        compression=text_of(row, "compression", where),
        name=text_of(row, "name", where) or path,
        path=path,
        label=label,
        targets=people_of(row, ("targets", "identity"), where),
        donors=people_of(row, ("donors", "donor"), where),
        group=text_of(row, "group", where),
        source=text_of(row, "source", where),
        donor_sources=people_of(row, ("donor_sources", "donor_source"), where),
        official_split=SPLIT_NAMES.get(split.lower(), ""),
    )
    return Listed(clip, original if label == "fake" else "", exists, line)

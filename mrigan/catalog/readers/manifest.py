"""Own data: a manifest, as CSV or JSON lines. Only `path` and `label` are required.

Columns: path, label (real, fake, 0, 1; 1 = fake), original (the path of another row), identity or targets, donor or
donors (several joined by ";", in JSON also lists), method, dataset, compression, name, group, source (the upload that a
clip was cut from), donor_source or donor_sources, split or official_split.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from mrigan.catalog.clips import ORIGINAL, Clip, clip_id
from mrigan.catalog.readers.common import UNPRINTABLE, Problems, ScanResult, no_lists, unique
from mrigan.catalog.readers.folder import Tree
from mrigan.errors import CatalogError

LABELS = {"real": "real", "0": "real", "fake": "fake", "1": "fake"}
SPLIT_NAMES = {"train": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}
READ = {
    "path",
    "label",
    "original",
    "identity",
    "targets",
    "donor",
    "donors",
    "method",
    "dataset",
    "compression",
    "name",
    "group",
    "source",
    "donor_source",
    "donor_sources",
    "split",
    "official_split",
}
PASSED_OVER = {"clip", "family", "frames", "fps", "width", "height", "duration", "codec", "bytes", "sha256", "note"}
LAYOUT = "a CSV file with a header or JSON lines; columns path and label (real, fake, 0, 1; 1 = fake) are required"


def read_manifest(manifest: Path, splits: Path | None = None, base: Path | None = None) -> ScanResult:
    """The clips that `manifest` lists; their paths are relative to `base`, by default the manifest's folder.

    Raises:
        CatalogError: unreadable, a required column missing, an unknown label, a path that leads out of `base`, an
            original that is a fake, splits filled for some clips only, no clips.
    """
    no_lists(splits, "manifest", "a column split in the manifest is used as it is")
    manifest = Path(manifest)
    base = manifest.parent if base is None else Path(base)
    if not manifest.is_file():
        raise CatalogError("no manifest there", where=manifest, fix=LAYOUT)
    if not base.is_dir():
        raise CatalogError("no such folder", where=base, fix="--root is the folder that its paths start from")
    problems = Problems()
    rows: dict[str, tuple[Clip, str]] = {}  # path → (clip, path of its original)
    present: set[str] = set()
    unknown: set[str] = set()
    tree = Tree(base)
    for line, row in _rows(manifest):
        unknown |= set(row) - READ - PASSED_OVER
        where = f"{manifest}, line {line}"
        clip, original = _clip(row, manifest, where)
        there = tree.has(clip.path, where)
        if clip.path in rows:
            raise CatalogError(f"{clip.path} is listed twice", where=where)
        rows[clip.path] = clip, original
        if there:
            present.add(clip.path)
    for path in sorted(rows.keys() - present):
        problems.add("skipped: listed but not on disk", path)
    clips = [_with_original(*rows[path], rows, present) for path in sorted(present)]
    for clip in clips:
        if clip.label == "fake" and clip.original is None:
            problems.add("fakes with a missing original (kept, no MRI)", clip.path)
    if not clips:
        found = "; ".join(map(str, problems.counted())) or "the manifest has no rows"
        raise CatalogError(f"no clips found: {found}", where=manifest, fix=LAYOUT)
    with_split = sum(bool(clip.official_split) for clip in clips)
    if 0 < with_split < len(clips):
        raise CatalogError(
            f"{with_split} of {len(clips)} clips have a split",
            where=manifest,
            fix="fill the split of every clip, or of none (then splits are drawn by family)",
        )
    notes = [f"columns not used: {', '.join(sorted(unknown))}"] if unknown else []
    if with_split:
        notes.append("the manifest's own splits are used")
    return ScanResult(base, unique(clips, manifest), problems.counted(), notes, official=bool(with_split))


def _rows(manifest: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) of either format; keys in lower case."""
    try:
        text = manifest.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CatalogError(f"not a text file in UTF-8: {error}", where=manifest, fix=LAYOUT) from None
    if text.lstrip()[:1] == "{":
        for line, part in enumerate(text.splitlines(), 1):
            if part.strip():
                yield line, _json_row(part, f"{manifest}, line {line}")
        return
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    header = [(name or "").strip().lower() for name in table.fieldnames or []]
    missing = [name for name in ("path", "label") if name not in header]
    if missing or len(set(header)) < len(header):
        fault = f"column {' and '.join(missing)} missing" if missing else "two columns have one name"
        raise CatalogError(f"{fault}; the header is: {', '.join(header) or '(empty)'}", where=manifest, fix=LAYOUT)
    table.fieldnames = header
    try:
        for row in table:
            if None in row or None in row.values():
                raise CatalogError(
                    f"a row has not {len(header)} fields like the header", where=f"{manifest}, line {table.line_num}"
                )
            yield table.line_num, row
    except csv.Error as error:
        raise CatalogError(f"broken CSV: {error}", where=f"{manifest}, line {table.line_num}", fix=LAYOUT) from None


def _json_row(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"broken JSON: {error}", where=where, fix=LAYOUT) from None
    if not isinstance(row, dict) or "path" not in row or "label" not in row:
        raise CatalogError("a row without path and label", where=where, fix=LAYOUT)
    return {str(key).strip().lower(): value for key, value in row.items()}


def _clip(row: dict[str, Any], manifest: Path, where: str) -> tuple[Clip, str]:
    """The clip, not yet tied to its original, and the path of its original ("" if none)."""
    path, original = (_posix(_text(row, key, where)) for key in ("path", "original"))
    label = LABELS.get(_text(row, "label", where).lower())
    if label is None:
        raise CatalogError(
            f"label {row['label']!r} of {path}", where=where, fix="labels are real, fake, 0 and 1 (1 = fake)"
        )
    split = _text(row, "official_split", where) or _text(row, "split", where)
    if split and split.lower() not in SPLIT_NAMES:
        raise CatalogError(f"split {split!r} of {path}", where=where, fix="splits are train, val and test")
    if label == "real" and original not in ("", path):
        raise CatalogError(
            f"{path} is real and has an original",
            where=where,
            fix="leave original empty for reals; clips that belong together can share a group",
        )
    clip = Clip(
        dataset=_text(row, "dataset", where) or manifest.stem,
        method=ORIGINAL if label == "real" else _text(row, "method", where),
        compression=_text(row, "compression", where),
        name=_text(row, "name", where) or path,
        path=path,
        label=label,
        targets=_people(row, ("targets", "identity"), where),
        donors=_people(row, ("donors", "donor"), where),
        group=_text(row, "group", where),
        source=_text(row, "source", where),
        donor_sources=_people(row, ("donor_sources", "donor_source"), where),
        official_split=SPLIT_NAMES.get(split.lower(), ""),
    )
    return clip, original if label == "fake" else ""


def _with_original(clip: Clip, original: str, rows: dict[str, tuple[Clip, str]], present: set[str]) -> Clip:
    if not original:
        return clip
    source = rows.get(original, (None, ""))[0]
    if source is not None and source.label != "real":
        raise CatalogError(
            f"the original of {clip.path} is a fake: {original}",
            fix="original is the path of the real clip that the fake was made from",
        )
    # A named original keeps its fakes in one family even where it is missing.
    family = source.id if source else clip_id(clip.dataset, ORIGINAL, clip.compression, original)
    return replace(clip, original=family if original in present else None, family=family)


def _text(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if value is None or value == "":  # most fields of most rows
        return ""
    if isinstance(value, bool | list | dict):
        raise CatalogError(f"{key} is {value!r}, not a text or a number", where=where)
    text = str(value).strip()
    if key != "path" and UNPRINTABLE.search(text):
        raise CatalogError(f"{key} {text[:80]!r} has line breaks, control characters or no UTF-8", where=where)
    return text


def _people(row: dict[str, Any], keys: tuple[str, ...], where: str) -> tuple[str, ...]:
    names: list[str] = []
    for key in keys:
        value = row.get(key)
        if not value:
            continue
        many = value if isinstance(value, list) else _text(row, key, where).split(";")
        names += [_text({key: name}, key, where) for name in many]
    return tuple(sorted({name for name in names if name}))


def _posix(path: str) -> str:
    """`./a//b.mp4` and `a/b.mp4` are one file; ".." stays, to be refused."""
    return str(PurePosixPath(path)) if path else ""

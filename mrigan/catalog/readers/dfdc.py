"""DFDC's training set: `dfdc_train_part_N/metadata.json` and the videos beside it.

`{"x.mp4": {"label": "FAKE"|"REAL", "split": "train", "original": "y.mp4"}}`; a REAL may lack `original`, a FAKE may
have none or one that is not there. People are not listed: the part stands in as their group, as the challenge's winner
did it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mrigan.catalog.clips import ORIGINAL, SPLITS, Clip, clip_id
from mrigan.catalog.readers.common import MISSING, Problem, Problems, ScanResult, count_difference, no_lists, unique
from mrigan.catalog.readers.folder import PLAIN, VIDEO_SUFFIXES, Folder, inside
from mrigan.catalog.readers.labels import json_entries
from mrigan.errors import CatalogError

DATASET = "dfdc"
MIN_PARTS = 3  # with fewer, train, val and test cannot each have a part of their own
PUBLISHED_PARTS, PUBLISHED = 50, 119_154
EXPECTED = 'expected {"x.mp4": {"label": "FAKE", "original": "y.mp4"}, ...}'
LAYOUT = "expected ROOT/dfdc_train_part_N/metadata.json with the videos beside it, or one such part as ROOT"


def read_dfdc(root: Path, splits: Path | None = None) -> ScanResult:
    """The clips of all parts below `root`, or of `root` itself where it is a part.

    Raises:
        CatalogError: not this layout, no clips, broken JSON, or an entry that leads out of its part.
        ConfigError: `splits` is given.
    """
    no_lists(splits, "dfdc", "its 50 parts are all training data; its test set has a reader of its own, dfdc-test")
    root = Path(root)
    parts = _parts(root)
    grouped = len(parts) >= MIN_PARTS
    problems = Problems()
    folders = {part: Folder(part, part / "metadata.json") for part in parts}
    listed = {part: _read_metadata(part / "metadata.json") for part in parts}
    names = {part: part.resolve().name if part == root else part.name for part in parts}
    reals: dict[str, list[Path]] = {}  # file name → parts that have it as a real clip
    for part, entries in listed.items():
        _check_originals(part, entries)
        for entry, row in entries.items():
            if row.get("label") == "REAL" and folders[part].has(entry):
                reals.setdefault(entry, []).append(part)
    clips: list[Clip] = []
    for part, entries in listed.items():
        above = part.relative_to(root).as_posix()
        for entry, row in sorted(entries.items()):
            shown = f"{names[part]}/{entry}"
            there = folders[part].has(entry)
            label = {"REAL": "real", "FAKE": "fake"}.get(str(row.get("label")))
            if label is None:
                problems.add("skipped: label is neither REAL nor FAKE", shown)
                continue
            if not there:
                problems.add("skipped: listed but not on disk", shown)
                continue
            original, family = _original(row, part, names, reals) if label == "fake" else (None, "")
            if label == "fake" and original is None:
                problems.add(MISSING, shown)
            clips.append(
                Clip(
                    DATASET,
                    ORIGINAL if label == "real" else "",
                    "",
                    shown,
                    entry if above == "." else f"{above}/{entry}",
                    label,
                    original,
                    group=names[part] if grouped else "",
                    official_split=row["split"] if row.get("split") in SPLITS else "",
                    family=family,
                )
            )
        for name in folders[part].files(VIDEO_SUFFIXES, Problems()):
            if name not in entries:
                problems.add("skipped: on disk but not in metadata.json", f"{names[part]}/{name}")
    if not clips:
        found = "; ".join(map(str, problems.counted())) or "metadata.json lists nothing"
        raise CatalogError(f"no clips found: {found}", where=root, fix=LAYOUT)
    note = (
        f"{len(parts)} parts: people are not listed, so the part is the group, and none is on two sides"
        if grouped
        else f"only {len(parts)} part{'s' * (len(parts) > 1)} (fewer than {MIN_PARTS}): split by family; "
        "one person may be on two sides"
    )
    differences = _differences(list(names.values()), sum(map(len, listed.values())))
    return ScanResult(root, unique(clips, root), problems.counted(), [note], differences=differences)


def _differences(parts: list[str], listed: int) -> list[Problem]:
    """What is missing of the published parts, or, where all are there, of the entries in their lists."""
    expected = [f"dfdc_train_part_{number}" for number in range(PUBLISHED_PARTS)]
    missing = [name for name in expected if name not in parts]
    beyond = [name for name in parts if name not in expected]
    found = Problems()
    found.extend(f"of the {PUBLISHED_PARTS} published parts are not here", missing)
    found.extend(f"folders beside the {PUBLISHED_PARTS} published parts", beyond)
    return [
        *found.counted(5),
        *([] if missing or beyond else count_difference(PUBLISHED, listed, "entries of the lists")),
    ]


def _parts(root: Path) -> list[Path]:
    if not root.is_dir():
        raise CatalogError("no such folder", where=root, fix=LAYOUT)
    if (root / "metadata.json").is_file():
        return [root]
    parts = [folder for folder in root.iterdir() if (folder / "metadata.json").is_file()]
    if not parts:
        raise CatalogError("no metadata.json in this folder or in the folders below it", where=root, fix=LAYOUT)
    return sorted(parts, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts part 2 before part 10."""
    return [(int(text), "") if text.isdigit() else (-1, text) for text in re.split(r"(\d+)", path.name)]


def _read_metadata(path: Path) -> dict[str, dict[str, Any]]:
    data = dict(json_entries(path, EXPECTED))
    if not all(isinstance(row, dict) for row in data.values()):
        raise CatalogError("not a list of clips", where=path, fix=EXPECTED)
    return data


def _check_originals(part: Path, entries: dict[str, dict[str, Any]]) -> None:
    for entry, row in entries.items():
        original = row.get("original")
        if original is None:
            continue
        if not isinstance(original, str):
            raise CatalogError(f"entry {entry!r}: original {original!r} is no file name", where=part / "metadata.json")
        if original and not PLAIN.fullmatch(original):
            inside(part, original, part / "metadata.json")


def _original(
    row: dict[str, Any],
    part: Path,
    names: dict[Path, str],
    reals: dict[str, list[Path]],
) -> tuple[str | None, str]:
    """(clip id of the original, family); (None, family) where it is missing, (None, "") where none is named."""
    name = row.get("original")
    if not name:
        return None, ""
    holders = reals.get(name, [])
    home = part if part in holders or len(holders) != 1 else holders[0]  # file names are unique over DFDC's parts
    original = clip_id(DATASET, ORIGINAL, "", f"{names[home]}/{name}")
    return (original if home in holders else None), original

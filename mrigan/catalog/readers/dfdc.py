"""Reader of DFDC's training set: `dfdc_train_part_N/metadata.json` and the videos beside it.

`{"x.mp4": {"label": "FAKE"|"REAL", "split": "train", "original": "y.mp4"}}`. A REAL may lack `original`; a FAKE may
lack it or name a missing file. People are not listed, so the part is the group, as in the challenge's winning entry.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mrigan.catalog.clips import ORIGINAL, SPLITS, Clip
from mrigan.catalog.readers.common import MISSING, Problem, Problems, ScanResult, count_difference, no_lists, unique
from mrigan.catalog.readers.dfdc_originals import DATASET, Originals, Part, label_of
from mrigan.catalog.readers.folder import PLAIN, VIDEO_SUFFIXES, inside, listing
from mrigan.catalog.readers.labels import json_entries
from mrigan.errors import CatalogError

MIN_PARTS = 3  # with fewer, train, val and test cannot each have their own part
PUBLISHED_PARTS, PUBLISHED = 50, 119_154
EXPECTED = 'expected {"x.mp4": {"label": "FAKE", "original": "y.mp4"}, ...}'
LIST = "metadata.json"
NESTED = "skipped: parts in a sub-folder (move or link them into ROOT, or scan that sub-folder)"
UNLISTED = f"skipped: folders of videos without {LIST}"
MAX_DEPTH, MAX_FOLDERS = 3, 1_000  # levels below ROOT, and folders of a level, that are searched for parts
LAYOUT = "expected ROOT/dfdc_train_part_N/metadata.json with the videos beside it, or one such part as ROOT"


def read_dfdc(root: Path, splits: Path | None = None) -> ScanResult:
    """The clips of all parts below `root`, or of `root` itself if it is a part.

    Raises:
        CatalogError: another layout, no clips, broken JSON, or an entry that points out of its part.
        ConfigError: `splits` is given.
    """
    no_lists(splits, "dfdc", "all of its 50 parts are training data; the reader of the test set is dfdc-test")
    root = Path(root)
    folders, problems = _part_folders(root), Problems()
    for reason, path in _skipped_folders(root, folders):
        problems.add(reason, path)
    grouped = len(folders) >= MIN_PARTS
    names = {folder: folder.resolve().name if folder == root else folder.name for folder in folders}
    parts = [Part(folder, names[folder], _read_metadata(folder / LIST)) for folder in folders]
    originals = Originals(parts)
    clips: list[Clip] = []
    for part in parts:
        above = part.path.relative_to(root).as_posix()
        for entry, row in sorted(part.entries.items()):
            name = f"{part.name}/{entry}"
            label = label_of(row)
            if not label:
                problems.add("skipped: label is neither REAL nor FAKE", name)
                continue
            if entry not in part.existing:
                problems.add("skipped: listed but not on disk", name)
                continue
            original, by_a_fake = originals.of(part, entry) if label == "fake" else (None, False)
            if label == "fake" and original is None:
                problems.add(MISSING, name)
            if by_a_fake:
                problems.add("fakes of fakes (in the family of the first original)", name)
            clips.append(
                Clip(
                    DATASET,
                    ORIGINAL if label == "real" else "",
                    "",
                    name,
                    entry if above == "." else f"{above}/{entry}",
                    label,
                    original,
                    group=part.name if grouped else "",
                    official_split=row["split"] if row.get("split") in SPLITS else "",
                    family=originals.family(entry),
                )
            )
        for file in part.folder.files(VIDEO_SUFFIXES, Problems()):
            if file not in part.entries:
                problems.add("skipped: on disk but not in metadata.json", f"{part.name}/{file}")
    if not clips:
        reasons = "; ".join(map(str, problems.counted())) or "metadata.json lists nothing"
        raise CatalogError(f"no clips found: {reasons}", where=root, fix=LAYOUT)
    notes = [
        f"{len(parts)} parts: people are not listed, so the part is the group; no part is in two splits"
        if grouped
        else f"only {len(parts)} part{'s' * (len(parts) > 1)} (fewer than {MIN_PARTS}): split by family; "
        "one person may be in two splits"
    ]
    notes += [str(problem) for problem in originals.repeated.counted()]
    differences = _differences(list(names.values()), sum(len(part.entries) for part in parts))
    return ScanResult(root, unique(clips, root), problems.counted(), notes, differences=differences)


def _differences(parts: list[str], listed: int) -> list[Problem]:
    """Published parts that are missing; if no part is missing, the entries that their lists lack."""
    expected = [f"dfdc_train_part_{number}" for number in range(PUBLISHED_PARTS)]
    differences = Problems()
    differences.extend(f"of the {PUBLISHED_PARTS} published parts are missing", set(expected) - set(parts))
    differences.extend(f"folders beside the {PUBLISHED_PARTS} published parts", set(parts) - set(expected))
    return differences.counted(5) or count_difference(PUBLISHED, listed, "entries of the lists")


def _part_folders(root: Path) -> list[Path]:
    listing(root, LAYOUT)
    if (root / LIST).is_file():
        return [root]
    parts = [folder for folder in root.iterdir() if (folder / LIST).is_file()]
    if not parts:
        problems = Problems()
        for reason, path in _skipped_folders(root, []):
            problems.add(reason, path)
        more = "".join(f"; {problem}" for problem in problems.counted(5))
        raise CatalogError(f"no {LIST} in this folder or in its sub-folders{more}", where=root, fix=LAYOUT)
    return sorted(parts, key=_natural)


def _skipped_folders(root: Path, parts: list[Path]) -> Iterator[tuple[str, str]]:
    """(reason, path) of the folders that look like parts but are not read."""
    waiting = [folder for folder in (root, *_folders(root)) if folder not in parts]
    for _ in range(MAX_DEPTH):
        below: list[Path] = []
        for folder in waiting[:MAX_FOLDERS]:
            if (folder / LIST).is_file():
                yield NESTED, folder.relative_to(root).as_posix()
                continue
            if folder != root and _holds_videos(folder):
                yield UNLISTED, folder.relative_to(root).as_posix()
            below += _folders(folder) if folder != root else ()
        waiting = sorted(below)


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def _holds_videos(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(os.path.splitext(entry.name)[1].lower() in VIDEO_SUFFIXES for entry in entries)
    except OSError:
        return False


def _natural(path: Path) -> list[tuple[int, str]]:
    """A sort key that puts part 2 before part 10."""
    return [(int(text), "") if text.isdigit() else (-1, text) for text in re.split(r"(\d+)", path.name)]


def _read_metadata(path: Path) -> dict[str, dict[str, Any]]:
    data = dict(json_entries(path, EXPECTED))
    if not all(isinstance(row, dict) for row in data.values()):
        raise CatalogError("not a list of clips", where=path, fix=EXPECTED)
    for entry, row in data.items():
        original = row.get("original")
        if original is None:
            continue
        if not isinstance(original, str):
            raise CatalogError(f"entry {entry!r}: original {original!r} is not a file name", where=path)
        if original and not PLAIN.fullmatch(original):
            inside(path.parent, original, path)
    return data

"""DFDC's training set: `dfdc_train_part_N/metadata.json` and the videos beside it.

`{"x.mp4": {"label": "FAKE"|"REAL", "split": "train", "original": "y.mp4"}}`; a REAL may lack `original`, a FAKE may
have none or one that is not there. People are not listed: the part stands in as their group, as the challenge's winner
did it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mrigan.catalog.clips import ORIGINAL, Clip, clip_id
from mrigan.catalog.readers.common import VIDEO_SUFFIXES, Problems, ScanResult, inside, unique
from mrigan.errors import CatalogError

DATASET = "dfdc"
MIN_PARTS = 3  # with fewer, train, val and test cannot each have a part of their own
LAYOUT = "expected ROOT/dfdc_train_part_N/metadata.json with the videos beside it, or one such part as ROOT"


def read_dfdc(root: Path) -> ScanResult:
    """The clips of all parts below `root`, or of `root` itself where it is a part.

    Raises:
        CatalogError: not this layout, no clips, broken JSON, or an entry that leads out of its part.
    """
    root = Path(root)
    parts = _parts(root)
    grouped = len(parts) >= MIN_PARTS
    problems = Problems()
    listed = {part: _read_metadata(part / "metadata.json") for part in parts}
    names = {part: part.resolve().name if part == root else part.name for part in parts}
    reals: dict[str, list[Path]] = {}  # file name → parts that have it as a real clip
    for part, entries in listed.items():
        _check_originals(part, entries)
        for entry, row in entries.items():
            if row.get("label") == "REAL" and inside(part, entry, part / "metadata.json").is_file():
                reals.setdefault(entry, []).append(part)
    clips: list[Clip] = []
    for part, entries in listed.items():
        for entry, row in sorted(entries.items()):
            shown = f"{names[part]}/{entry}"
            file = inside(part, entry, part / "metadata.json")
            label = {"REAL": "real", "FAKE": "fake"}.get(str(row.get("label")))
            if label is None:
                problems.add("skipped: label is neither REAL nor FAKE", shown)
                continue
            if not file.is_file():
                problems.add("skipped: listed but not on disk", shown)
                continue
            original, family = _original(row, part, names, reals) if label == "fake" else (None, "")
            if label == "fake" and original is None:
                problems.add("fakes with a missing original (kept, no MRI)", shown)
            clips.append(
                Clip(
                    DATASET,
                    ORIGINAL if label == "real" else "",
                    "",
                    shown,
                    file.relative_to(root).as_posix(),
                    label,
                    original,
                    group=names[part] if grouped else "",
                    official_split=str(row.get("split") or ""),
                    family=family,
                )
            )
        for file in sorted(part.iterdir()):
            if file.suffix.lower() in VIDEO_SUFFIXES and file.name not in entries:
                problems.add("skipped: on disk but not in metadata.json", f"{names[part]}/{file.name}")
    if not clips:
        found = "; ".join(map(str, problems.counted())) or "metadata.json lists nothing"
        raise CatalogError(f"no clips found: {found}", where=root, fix=LAYOUT)
    note = (
        f"{len(parts)} parts: people are not listed, so the part is the group, and none is on two sides"
        if grouped
        else f"only {len(parts)} part{'s' * (len(parts) > 1)} (fewer than {MIN_PARTS}): split by family; "
        "one person may be on two sides"
    )
    return ScanResult(root, unique(clips, root), problems.counted(), [note])


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
    def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            repeated = next(key for key in keys if keys.count(key) > 1)
            raise CatalogError(f"entry {repeated!r} is there twice", where=path)
        return dict(pairs)

    try:
        data = json.loads(path.read_bytes(), object_pairs_hook=no_repeats)
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"broken JSON: {error}", where=path, fix="copy the file again from the data set") from None
    if not isinstance(data, dict) or not all(isinstance(row, dict) for row in data.values()):
        raise CatalogError(
            "not a list of clips", where=path, fix='expected {"x.mp4": {"label": "FAKE", "original": "y.mp4"}, ...}'
        )
    return data


def _check_originals(part: Path, entries: dict[str, dict[str, Any]]) -> None:
    for entry, row in entries.items():
        original = row.get("original")
        if original is None:
            continue
        if not isinstance(original, str):
            raise CatalogError(f"entry {entry!r}: original {original!r} is no file name", where=part / "metadata.json")
        if original:
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

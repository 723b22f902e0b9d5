"""Reader of DFDC's preview set: `method_A|B/<target>/<target>_<X>/<donor>_<target>_<X>_<n>.mp4`, `original_videos`.

A fake's name without its first field is the name of its original; the first field is the donor.
`dataset.json` gives each clip's label and set: `{"method_A/...mp4": {"label": "fake", "set": "train"}}`.
"""

from __future__ import annotations

import re
from pathlib import Path

from mrigan.catalog.clips import ORIGINAL, Clip, clip_id
from mrigan.catalog.readers.common import Problem, Problems, ScanResult, checked_clips, count_difference
from mrigan.catalog.readers.folder import VIDEO_SUFFIXES, FolderListing, inside, list_path, listing
from mrigan.catalog.readers.labels import json_entries
from mrigan.errors import CatalogError

DATASET = "dfdc-preview"
PUBLISHED = {"real": 1_131, "fake": 4_119}
FOLDERS = {"original_videos": ORIGINAL, "method_A": "method_A", "method_B": "method_B"}
REAL = r"(?P<target>\d+)_\w+"
FAKE = r"(?P<donor>\d+)_(?P<original>(?P<target>\d+)_\w+)"
LIST = "dataset.json"
MAX_DEPTH = 3  # folders below original_videos and method_X
LAYOUT = f"expected ROOT/{{{','.join(FOLDERS)}}}/<person>/... and ROOT/{LIST}"
EXPECTED = 'expected {"method_A/1/1_A/2_1_A_001.mp4": {"label": "fake", "set": "train"}, ...}'


def read_dfdc_preview(root: Path, splits: Path | None = None) -> ScanResult:
    """The clips of DFDC's preview set.

    Args:
        splits: `dataset.json` or its folder: use its sets (train, test).

    Raises:
        CatalogError: another layout, no clips, a link out of the folder, or a list that contradicts the folders.
    """
    root = Path(root)
    top = listing(root, LAYOUT)
    listed = _read_list(root, splits)
    problems = Problems()
    files = [
        (folder, path, match)
        for folder in FOLDERS
        if folder in top.folders()
        for path, match in _walk(root, folder, REAL if folder == "original_videos" else FAKE, problems)
    ]
    originals = {match[0] for folder, _, match in files if folder == "original_videos"}
    clips: list[Clip] = []
    for folder, path, match in files:
        if listed and path not in listed:
            problems.add(f"skipped: on disk but not in {LIST}", path)
        else:
            clips.append(_clip(folder, path, match, originals, listed.get(path, "")))
    missing = Problems()
    missing.extend(f"clips of {LIST} are missing", listed.keys() - {path for _, path, _ in files})
    differences: list[Problem] = missing.counted()
    for label, published in PUBLISHED.items():
        differences += count_difference(published, sum(clip.label == label for clip in clips), f"{label} clips")
    notes = []
    if not listed:
        notes.append(f"no {LIST}: labels come from the folders, and there are no official sets")
    elif splits is None:
        notes.append(f"the training and test set of {LIST} are not used; to split as published: --splits PATH")
    else:
        notes.append(f"{LIST} names a training and a test set, but no validation set (--val draws one)")
    clips = checked_clips(clips, root, problems, LAYOUT)
    return ScanResult(root, clips, problems.counted(), notes, splits is not None, differences)


def _walk(root: Path, above: str, pattern: str, problems: Problems, depth: int = 0) -> list[tuple[str, re.Match[str]]]:
    folder = FolderListing(root / above)
    files = [
        (f"{above}/{name}", match) for match, name in folder.matching(pattern, VIDEO_SUFFIXES, problems, f"{above}/")
    ]
    if depth < MAX_DEPTH:
        for name in folder.folders():
            inside(root / above, name, root / above)
            files += _walk(root, f"{above}/{name}", pattern, problems, depth + 1)
    return files


def _clip(folder: str, path: str, match: re.Match[str], originals: set[str], official: str) -> Clip:
    real = folder == "original_videos"
    family = "" if real else clip_id(DATASET, ORIGINAL, "", match["original"])
    return Clip(
        DATASET,
        FOLDERS[folder],
        "",
        match[0],
        path,
        "real" if real else "fake",
        None if real or match["original"] not in originals else family,
        targets=(match["target"],),
        donors=() if real else (match["donor"],),
        official_split=official,
        family=family,
    )


def _read_list(root: Path, splits: Path | None) -> dict[str, str]:
    """Path → set; {} if there is no list and `splits` is None."""
    path = list_path(root, splits, LIST)
    sets: dict[str, str] = {}
    for entry, row in json_entries(path, EXPECTED) if path else ():
        if not isinstance(row, dict) or row.get("label") not in PUBLISHED or row.get("set") not in ("train", "test"):
            raise CatalogError(f"entry {entry!r} has no label and set", where=path, fix=EXPECTED)
        inside(root, entry, path or root)
        if entry.partition("/")[0] not in FOLDERS:
            raise CatalogError(f"entry {entry!r} is not in a folder of the data set", where=path, fix=LAYOUT)
        if (row["label"] == "real") != entry.startswith("original_videos/"):
            raise CatalogError(f"entry {entry!r} is labelled {row['label']}", where=path, fix=LAYOUT)
        sets[entry] = row["set"]
    return sets

"""Reader of Celeb-DF-v2: `Celeb-real`, `YouTube-real`, `Celeb-synthesis`, `List_of_testing_videos.txt` (1 = REAL).

`Celeb-real/id<T>_<NNNN>.mp4` shows person T; `Celeb-synthesis/id<T>_id<S>_<NNNN>.mp4` is that clip with the face of S.
The people in `YouTube-real/<NNNNN>.mp4` are not published.
"""

from __future__ import annotations

import re
from pathlib import Path

from mrigan.catalog.clips import ORIGINAL, Clip, clip_id
from mrigan.catalog.readers.common import Problem, Problems, ScanResult, checked_clips, count_difference
from mrigan.catalog.readers.folder import VIDEO_SUFFIXES, FolderListing, list_path, listing
from mrigan.catalog.readers.labels import small_text
from mrigan.errors import CatalogError

DATASET = "celeb-df-v2"
METHOD = "synthesis"
PUBLISHED = {"Celeb-real": 590, "YouTube-real": 300, "Celeb-synthesis": 5_639}
NAMES = {
    "Celeb-real": r"(?P<target>id\d+)_\d{4}",
    "YouTube-real": r"\d{5}",
    "Celeb-synthesis": r"(?P<target>id\d+)_(?P<donor>id\d+)_(?P<number>\d{4})",
}
LIST, LISTED = "List_of_testing_videos.txt", 518
LINE = re.compile(r"([01])\s+((Celeb-real|YouTube-real|Celeb-synthesis)/[\w.-]+\.mp4)", re.ASCII)
LAYOUT = f"expected ROOT/{{{','.join(PUBLISHED)}}}/*.mp4 and ROOT/{LIST}"


def read_celeb_df(root: Path, splits: Path | None = None) -> ScanResult:
    """The clips of Celeb-DF-v2.

    Args:
        splits: `List_of_testing_videos.txt` or its folder: its clips are the test set, all others the training set.

    Raises:
        CatalogError: another layout, no clips, a link out of the folder, or a list that contradicts the folders.
    """
    root = Path(root)
    top = listing(root, LAYOUT)
    test_list = list_path(root, splits, LIST)
    test = _read_list(test_list) if test_list else set()
    problems = Problems()
    clips: list[Clip] = []
    differences: list[Problem] = []
    names: dict[str, set[str]] = {}
    for folder, published in PUBLISHED.items():
        present = FolderListing(root / folder) if folder in top.folders() else None
        files = list(present.matching(NAMES[folder], VIDEO_SUFFIXES, problems, f"{folder}/")) if present else []
        names[folder] = {match[0] for match, _ in files}
        differences += count_difference(published, len(files), f"clips of {folder}")
        for match, name in files:
            official = ("test" if f"{folder}/{name}" in test else "train") if test else ""
            clips.append(_clip(f"{folder}/{name}", match, names["Celeb-real"], official))
    if test:
        differences += count_difference(LISTED, len(test), f"lines of {LIST}")
        missing = Problems()
        missing.extend(f"clips of {LIST} are missing", test - {clip.path for clip in clips})
        differences += missing.counted()
    notes = ["the people in YouTube-real are not published: one of them may be in two splits"]
    if splits is None:
        state = "not used" if test else "missing"
        notes.append(f"{LIST} is {state}; to split as published: --splits PATH")
    else:
        notes.append(f"the test set is {LIST}, all else is train; no validation set is published (--val draws one)")
    clips = checked_clips(clips, root, problems, LAYOUT)
    return ScanResult(root, clips, problems.counted(), notes, splits is not None, differences)


def _clip(path: str, match: re.Match[str], originals: set[str], official: str) -> Clip:
    fake = path.startswith("Celeb-synthesis/")
    parts = match.groupdict()
    original, family = None, ""
    if fake:
        name = f"{parts['target']}_{parts['number']}"
        family = clip_id(DATASET, ORIGINAL, "", name)
        original = family if name in originals else None
    return Clip(
        DATASET,
        METHOD if fake else ORIGINAL,
        "",
        match[0],
        path,
        "fake" if fake else "real",
        original,
        targets=(parts["target"],) if "target" in parts else (),
        donors=(parts["donor"],) if fake else (),
        official_split=official,
        family=family,
    )


def _read_list(path: Path) -> set[str]:
    paths: set[str] = set()
    for number, line in enumerate(small_text(path).splitlines(), 1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line.strip())
        where = f"{path}, line {number}"
        if not match:
            fix = "a line is <1|0> <folder>/<file>"
            raise CatalogError(f"not a line of the test list: {line[:80]!r}", where=where, fix=fix)
        if (match[1] == "1") != match[3].endswith("real"):
            raise CatalogError(f"{match[2]} is labelled {match[1]}", where=where, fix="in this list 1 = REAL, 0 = FAKE")
        if match[2] in paths:
            raise CatalogError(f"{match[2]} is listed twice", where=where)
        paths.add(match[2])
    if not paths:
        raise CatalogError("the test list is empty", where=path)
    return paths

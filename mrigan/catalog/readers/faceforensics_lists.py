"""Read FaceForensics++'s lists: the pairs of clips in train, val and test, and the upload of each clip."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from mrigan.catalog.clips import SPLITS
from mrigan.catalog.readers.common import Problem, Problems, count_difference
from mrigan.catalog.readers.labels import json_entries, json_list
from mrigan.errors import CatalogError

PAIRS = {"train": 360, "val": 70, "test": 70}
CLIPS = frozenset(f"{number:03d}" for number in range(1000))
CLIP = re.compile(r"\d{3}", re.ASCII)
SOURCES = "conversion_dict.json"
EXPECTED = 'expected {"000": "<upload> <number>", ...}'


@dataclass(frozen=True)
class Lists:
    """The contents of the split lists.

    Attributes:
        split_of: 3-digit clip → split. pairs: (target, donor) of every official fake.
        differences: what these lists lack of the published ones.
    """

    split_of: dict[str, str] = field(default_factory=dict)
    pairs: frozenset[tuple[str, str]] = frozenset()
    differences: tuple[Problem, ...] = ()


def read_splits(folder: Path) -> Lists:
    """Read train.json, val.json and test.json: each a list of pairs of 3-digit clips.

    Raises:
        CatalogError: a list is missing or broken, or a clip is in two pairs.
    """
    split_of: dict[str, str] = {}
    pairs: set[tuple[str, str]] = set()
    differences: list[Problem] = []
    for split in SPLITS:
        path = folder / f"{split}.json"
        if not path.is_file():
            raise CatalogError(
                "no such split list", where=path, fix="--splits takes the folder with train.json, val.json, test.json"
            )
        rows = json_list(path)
        if not isinstance(rows, list):
            raise CatalogError("not a list of pairs", where=path, fix='expected [["000", "003"], ...]')
        for row in rows:
            if not (
                isinstance(row, list) and len(row) == 2 and all(isinstance(c, str) and CLIP.fullmatch(c) for c in row)
            ):
                raise CatalogError(f"not a pair of clips: {str(row)[:80]}", where=path, fix='expected ["000", "003"]')
            for clip in row:
                if clip in split_of:
                    raise CatalogError(f"clip {clip} is listed twice: in {split_of[clip]} and {split}", where=path)
                split_of[clip] = split
            pairs |= {(row[0], row[1]), (row[1], row[0])}
        differences += count_difference(PAIRS[split], len(rows), f"pairs of {path.name}")
    return Lists(split_of, frozenset(pairs), tuple(differences))


def read_sources(root: Path, splits: Path | None) -> dict[str, str]:
    """Clip → upload, from conversion_dict.json in the data set's folder or near the split lists; {} without that file.

    Raises:
        CatalogError: the file is broken.
    """
    places = [root, root / "splits", *([splits, splits.parent] if splits else [])]
    path = next((place / SOURCES for place in places if (place / SOURCES).is_file()), None)
    if path is None:
        return {}
    sources = {}
    for clip, value in json_entries(path, EXPECTED):
        if not (CLIP.fullmatch(clip) and isinstance(value, str) and value.strip()):
            raise CatalogError(f"entry {clip!r}: {str(value)[:80]!r}", where=path, fix=EXPECTED)
        sources[clip] = value.rsplit(" ", 1)[0]
    return sources


def list_differences(lists: Lists, sources: dict[str, str]) -> list[Problem]:
    """Clips that are on no split list, and clips without an upload."""
    missing = Problems()
    if lists.split_of:
        missing.extend("of the 1,000 youtube clips are on no split list", CLIPS - lists.split_of.keys())
    if sources:
        missing.extend(f"of the 1,000 youtube clips are not in {SOURCES}", CLIPS - sources.keys())
    return [*lists.differences, *missing.counted()]

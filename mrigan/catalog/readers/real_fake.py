"""Reader of faces or videos sorted into `real/` and `fake/`, also below `train/`, `val/` and `test/`.

Below `fake/`, a folder is a method. Pictures in one deeper folder, or with names that differ only in a final number
(`clip7_0.png`, `clip7_1.png`), are taken as frames of one clip and stay in one split.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mrigan.catalog.clips import ORIGINAL, Clip
from mrigan.catalog.readers.common import UNPRINTABLE, Problems, ScanResult, checked_clips, no_lists
from mrigan.catalog.readers.folder import PICTURE_SUFFIXES, VIDEO_SUFFIXES, FolderListing, inside, listing

LABELS = {"real": "real", "reals": "real", "original": "real", "originals": "real", "0_real": "real",
          "fake": "fake", "fakes": "fake", "manipulated": "fake", "1_fake": "fake"}  # fmt: skip
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
          "testing": "test"}  # fmt: skip
MAX_DEPTH = 4  # folders below a label's folder
NUMBER = re.compile(r"[ _.\-(]*\d+\)?$")
MAX_GROUP = 0.1  # of a label's files; a name that more pictures share is not the name of a clip
LAYOUT = (
    "expected ROOT/real and ROOT/fake with pictures or videos, or the same below ROOT/train, ROOT/val, ROOT/test; "
    "anything else: write a manifest (mrigan catalog scan manifest)"
)


def read_real_fake(root: Path, splits: Path | None = None) -> ScanResult:
    """The pictures and videos below the folders of the two labels.

    Raises:
        CatalogError: another layout, no clips, or a link out of the folder. ConfigError: `splits` is given.
    """
    no_lists(splits, "folder", "the folders train, val and test are used")
    root = Path(root)
    problems, clips = Problems(), []
    top = listing(root, LAYOUT).folders()
    places = [("", name, name) for name in top if name.lower() in LABELS]
    for above in [name for name in top if name.lower() in SPLITS]:
        inside(root, above, root)
        below = FolderListing(root / above).folders()
        places += [(SPLITS[above.lower()], f"{above}/{name}", name) for name in below if name.lower() in LABELS]
    for split, path, name in places:
        label = LABELS[name.lower()]
        inside(root, path, root)
        clips += _grouped([_clip(root, path, file, label, split) for file in _files(root, path, problems)])
    for name in top:
        if name not in {path.partition("/")[0] for _, path, _ in places}:
            problems.add("skipped: folders without the name of a label or a split", name)
    with_split = sum(bool(clip.official_split) for clip in clips)
    if with_split < len(clips):  # ROOT/real beside ROOT/test/real: the intended split is unknown
        clips = [replace(clip, official_split="") for clip in clips]
    notes = [
        "originals are unknown: build shards without MRIs (--config shards/faces.yaml); for pairs write a manifest"
    ]
    if 0 < with_split < len(clips):
        notes.append("only some files are below train, val and test: these folders are not used as splits")
    ungrouped = sum(not clip.group for clip in clips)
    if ungrouped:
        notes.append(
            f"{ungrouped} files have no group; to keep files of one person or one clip in one split, write a manifest "
            "with the column identity or group"
        )
    clips = checked_clips(clips, root, problems, LAYOUT)
    return ScanResult(root, clips, problems.counted(), notes, official=with_split == len(clips))


def _files(root: Path, above: str, problems: Problems, depth: int = 0) -> Iterator[str]:
    """Paths of the files below a folder, relative to `root`."""
    folder = FolderListing(root / above)
    for name in folder.files(PICTURE_SUFFIXES | VIDEO_SUFFIXES, problems, f"{above}/"):
        yield f"{above}/{name}"
    for name in folder.folders():
        inside(root, f"{above}/{name}", root)
        if depth < MAX_DEPTH:
            yield from _files(root, f"{above}/{name}", problems, depth + 1)
        else:
            problems.add(f"skipped: folders more than {MAX_DEPTH} levels deep", f"{above}/{name}")


def _clip(root: Path, above: str, path: str, label: str, split: str) -> tuple[Clip, bool]:
    """A clip, and whether its group comes from its file name.

    The group is the sub-folder below the method's folder; without one, a picture's name without its number. Real and
    fake files of one name are one group, because they may come from one video.
    """
    below = PurePosixPath(path).relative_to(above)
    folders = below.parts[:-1]
    method = ORIGINAL if label == "real" else folders[0] if folders else "fake"
    group, by_name = "/".join(folders[label == "fake" :]), False
    if not group and below.suffix.lower() in PICTURE_SUFFIXES:
        stem = NUMBER.sub("", below.stem)
        by_name = bool(stem) and stem != below.stem
        group = stem if by_name else ""
    dataset = UNPRINTABLE.sub("", root.resolve().name) or "folder"
    return Clip(dataset, method, "", path, path, label, group=group, official_split=split), by_name


def _grouped(clips: list[tuple[Clip, bool]]) -> list[Clip]:
    """The clips without groups by name that are too large: their names differ only in a number."""
    count = Counter(clip.group for clip, by_name in clips if by_name)
    limit = max(MAX_GROUP * len(clips), 2)
    return [replace(clip, group="") if by_name and count[clip.group] > limit else clip for clip, by_name in clips]

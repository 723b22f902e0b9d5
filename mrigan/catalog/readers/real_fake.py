"""Faces or videos sorted into `real/` and `fake/`, as most small sets are shared; also below `train/`, `val/`, `test/`.

Below them a folder is a method (`fake/<method>/...`), and pictures that lie in one deeper folder, or whose names differ
in a last number only (`clip7_0.png`, `clip7_1.png`), are taken for frames of one clip: they stay on one side.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mrigan.catalog.clips import ORIGINAL, Clip
from mrigan.catalog.readers.common import UNPRINTABLE, Problems, ScanResult, found_clips, no_lists
from mrigan.catalog.readers.folder import PICTURE_SUFFIXES, VIDEO_SUFFIXES, Folder, inside, listing

LABELS = {"real": "real", "reals": "real", "original": "real", "originals": "real", "0_real": "real",
          "fake": "fake", "fakes": "fake", "manipulated": "fake", "1_fake": "fake"}  # fmt: skip
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
          "testing": "test"}  # fmt: skip
DEPTH = 4  # folders below a label's
NUMBER = re.compile(r"[ _.\-(]*\d+\)?$")
SHARE = 0.1  # of a label's pictures: names under which more go together say nothing of clips
LAYOUT = (
    "expected ROOT/real and ROOT/fake with pictures or videos, or the same below ROOT/train, ROOT/val, ROOT/test; "
    "anything else: write a manifest (mrigan catalog scan manifest)"
)


def read_real_fake(root: Path, splits: Path | None = None) -> ScanResult:
    """The pictures and videos below the folders of the two labels.

    Raises:
        CatalogError: not this layout, nothing found, or a link that leads out. ConfigError: `splits` is given.
    """
    no_lists(splits, "folder", "folders called train, val and test are used as they are")
    root = Path(root)
    problems, clips = Problems(), []
    top = listing(root, LAYOUT).folders()
    places = [("", name, name) for name in top if name.lower() in LABELS]
    for above in [name for name in top if name.lower() in SPLITS]:
        inside(root, above, root)
        below = Folder(root / above).folders()
        places += [(SPLITS[above.lower()], f"{above}/{name}", name) for name in below if name.lower() in LABELS]
    for split, path, name in places:
        label = LABELS[name.lower()]
        inside(root, path, root)
        clips += _grouped([_clip(root, path, file, label, split) for file in _files(root, path, problems)])
    for name in top:
        if name not in {path.partition("/")[0] for _, path, _ in places}:
            problems.add("folders passed over: not called after a label or a split", name)
    with_split = sum(bool(clip.official_split) for clip in clips)
    if with_split < len(clips):  # ROOT/real beside ROOT/test/real: nobody can tell what was meant
        clips = [replace(clip, official_split="") for clip in clips]
    notes = ["no originals are known, so faces without MRIs (--config shards/faces.yaml); for pairs write a manifest"]
    if 0 < with_split < len(clips):
        notes.append("only some lie below train, val and test: these folders are not used as splits")
    ungrouped = sum(not clip.group for clip in clips)
    if ungrouped:
        notes.append(
            f"{ungrouped} files stand by themselves: a manifest with identity or group keeps together those that show "
            "one person, or are frames of one clip"
        )
    clips = found_clips(clips, root, problems, LAYOUT)
    return ScanResult(root, clips, problems.counted(), notes, official=with_split == len(clips))


def _files(root: Path, above: str, problems: Problems, depth: int = 0) -> Iterator[str]:
    """Paths of the files below a folder, relative to `root`."""
    folder = Folder(root / above)
    for name in folder.files(PICTURE_SUFFIXES | VIDEO_SUFFIXES, problems, f"{above}/"):
        yield f"{above}/{name}"
    for name in folder.folders():
        inside(root, f"{above}/{name}", root)
        if depth < DEPTH:
            yield from _files(root, f"{above}/{name}", problems, depth + 1)
        else:
            problems.add(f"folders passed over: more than {DEPTH} deep", f"{above}/{name}")


def _clip(root: Path, above: str, path: str, label: str, split: str) -> tuple[Clip, bool]:
    """A clip, and whether its group is told by its name alone.

    The group is the folder of what lies deeper than its method's folder; else a picture's name without its number.
    Reals and fakes of one name are one group: they may come from one video.
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
    """Without the groups by name that hold too many: there a number is all that names differ in."""
    count = Counter(clip.group for clip, by_name in clips if by_name)
    most = max(SHARE * len(clips), 2)
    return [replace(clip, group="") if by_name and count[clip.group] > most else clip for clip, by_name in clips]

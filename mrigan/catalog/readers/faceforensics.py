"""Reader of FaceForensics++ with FaceShifter and DeepFakeDetection, in all compressions.

    original_sequences/{youtube,actors}/{raw,c23,c40}/videos        NNN.mp4, <actor>__<scene>.mp4
    manipulated_sequences/<method>/{raw,c23,c40}/videos             <target>_<source>.mp4,
                                                                    <target>_<source>__<scene>__<8 chars>.mp4

The number of a youtube clip stands for the person in it. Two youtube clips may be cut from one upload:
`conversion_dict.json` names the uploads, and clips of one upload stay in one split.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mrigan.catalog.clips import ORIGINAL, Clip, clip_id
from mrigan.catalog.readers.common import Problem, Problems, ScanResult, checked_clips, count_difference
from mrigan.catalog.readers.faceforensics_lists import CLIPS, Lists, list_differences, read_sources, read_splits
from mrigan.catalog.readers.folder import VIDEO_SUFFIXES, FolderListing, listing
from mrigan.errors import CatalogError

DATASET = "faceforensics"
COMPRESSIONS = ("raw", "c23", "c40")
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
ACTORS = "DeepFakeDetection"
PUBLISHED_ACTORS, PUBLISHED_ACTOR_FAKES = 363, 3_068
REALS = {"youtube": r"(?P<target>\d{3})", "actors": r"(?P<target>\d{2})__[a-z0-9_]+"}
SWAP = r"(?P<original>(?P<target>\d{3}))_(?P<donor>\d{3})"
ACTOR_SWAP = r"(?P<target>\d{2})_(?P<donor>\d{2})__(?P<scene>[a-z0-9_]+)__[A-Za-z0-9]{8}"
LAYOUT = (
    "expected ROOT/original_sequences/{youtube,actors}/{raw,c23,c40}/videos/*.mp4 and "
    "ROOT/manipulated_sequences/<method>/{raw,c23,c40}/videos/*.mp4"
)


@dataclass(frozen=True)
class _VideoFolder:
    """The files of one folder of videos. `part` is youtube, actors or the method."""

    part: str
    compression: str
    path: str
    files: list[tuple[re.Match[str], str]]

    @property
    def real(self) -> bool:
        return self.part in REALS


@dataclass(frozen=True)
class _Lookup:
    """What `_clip` looks up about a clip.

    Attributes:
        originals: (compression, name) of the existing real clips. compressions: the existing compressions.
        sources: clip → upload.
    """

    originals: set[tuple[str, str]]
    compressions: list[str]
    lists: Lists
    sources: dict[str, str]

    def family_compression(self, name: str) -> str:
        """The compression in the family id of fakes whose original is missing in their own compression."""
        existing = [compression for compression in self.compressions if (compression, name) in self.originals]
        return (existing or self.compressions)[0]


def read_faceforensics(root: Path, splits: Path | None = None) -> ScanResult:
    """The clips of FaceForensics++.

    Args:
        splits: the folder with train.json, val.json and test.json. Actors are on no list and get no split.

    Raises:
        CatalogError: another layout, no clips, a link out of the folder, or broken lists.
    """
    root = Path(root)
    listing(root, LAYOUT)
    lists = read_splits(splits) if splits is not None else Lists()
    sources = read_sources(root, splits)
    problems = Problems()
    folders = _folders(root, problems)
    lookup = _Lookup(
        {(folder.compression, match[0]) for folder in folders if folder.real for match, _ in folder.files},
        [name for name in COMPRESSIONS if any(folder.compression == name for folder in folders)],
        lists,
        sources,
    )
    clips = [_clip(folder, match, name, lookup) for folder in folders for match, name in folder.files]
    notes = ["the number of a youtube clip stands for its person; the people of DeepFakeDetection are its actors"]
    if not sources:
        notes.append("no conversion_dict.json: clips of one upload may be in two splits")
    if splits is not None:
        unlisted = sum(not clip.official_split for clip in clips)
        if unlisted:
            notes.append(f"{unlisted} clips (actors) are on no split list; they get a split only by --val or --test")
    clips = checked_clips(clips, root, problems, LAYOUT)
    differences = [*_differences(folders, lists), *list_differences(lists, sources)]
    return ScanResult(root, clips, problems.counted(), notes, splits is not None, differences)


def _folders(root: Path, problems: Problems) -> list[_VideoFolder]:
    folders = []
    for above, parts in (("original_sequences", tuple(REALS)), ("manipulated_sequences", (*METHODS, ACTORS))):
        if (root / above).is_dir():
            for part in FolderListing(root / above).folders():
                if part not in parts:
                    problems.add("skipped: not a part of the data set", f"{above}/{part}")
        for part in parts:
            pattern = REALS.get(part) or (ACTOR_SWAP if part == ACTORS else SWAP)
            for compression in COMPRESSIONS:
                folder = f"{above}/{part}/{compression}/videos"
                if (root / folder).is_dir():
                    files = FolderListing(root / folder).matching(pattern, VIDEO_SUFFIXES, problems, f"{folder}/")
                    folders.append(_VideoFolder(part, compression, folder, list(files)))
    if not folders:
        raise CatalogError("no folder of videos of this data set", where=root, fix=LAYOUT)
    return folders


def _clip(folder: _VideoFolder, match: re.Match[str], name: str, lookup: _Lookup) -> Clip:
    target, donor = match["target"], None if folder.real else match["donor"]
    original, family = None, ""
    if donor is not None:
        original_name = f"{target}__{match['scene']}" if folder.part == ACTORS else target
        exists = (folder.compression, original_name) in lookup.originals
        compression = folder.compression if exists else lookup.family_compression(original_name)
        family = clip_id(DATASET, ORIGINAL, compression, original_name)
        original = family if exists else None
    return Clip(
        DATASET,
        ORIGINAL if folder.real else folder.part,
        folder.compression,
        match[0],
        f"{folder.path}/{name}",
        "real" if folder.real else "fake",
        original,
        targets=(_person(target),),
        donors=() if donor is None else (_person(donor),),
        source=lookup.sources.get(target, ""),
        donor_sources=(lookup.sources[donor],) if donor in lookup.sources else (),
        official_split=lookup.lists.split_of.get(target, ""),
        family=family,
    )


def _person(number: str) -> str:
    return number if len(number) == 3 else f"actor {number}"


def _differences(folders: list[_VideoFolder], lists: Lists) -> list[Problem]:
    """The differences from the published data set, folder by folder, for the existing compressions."""
    files = {(folder.part, folder.compression): folder.files for folder in folders}
    existing = [compression for compression in COMPRESSIONS if any(key[1] == compression for key in files)]
    absent, counted, more = Problems(), Problems(), list[Problem]()
    absent.extend("of the 3 published compressions are missing", set(COMPRESSIONS) - set(existing))
    for compression in existing:
        for part in ("youtube", *METHODS, "actors", ACTORS):
            matches = files.get((part, compression))
            if matches is None:
                absent.add(f"of the 8 published parts are missing in {compression}", part)
            elif part in ("actors", ACTORS):
                published = PUBLISHED_ACTORS if part == "actors" else PUBLISHED_ACTOR_FAKES
                more += count_difference(published, len(matches), f"clips of {part} in {compression}")
            else:
                missing = f"of the 1,000 published clips of {part} in {compression} are missing"
                _compare(part, [match[0] for match, _ in matches], lists, missing, counted)
    return [*absent.counted(), *counted.counted(), *more]


def _compare(part: str, names: list[str], lists: Lists, missing: str, counted: Problems) -> None:
    """Compare with the names of the split lists; without lists, each of the 1,000 clips must be a target once."""
    if part != "youtube" and lists.pairs:
        official = {f"{target}_{donor}" for target, donor in lists.pairs}
        counted.extend(missing, official - set(names))
        counted.extend("fakes of pairs that are on no split list", (f"{part}/{name}" for name in set(names) - official))
        return
    targets = [name[:3] for name in names]
    counted.extend(missing, (target if part == "youtube" else f"{target}_*" for target in CLIPS - set(targets)))
    if len(set(targets)) < len(targets):
        twice = {target for target in targets if targets.count(target) > 1}
        counted.extend("targets with more than one fake", (f"{part}/{target}_*" for target in twice))

"""FaceForensics++ with FaceShifter and DeepFakeDetection, in all compressions.

    original_sequences/{youtube,actors}/{raw,c23,c40}/videos        NNN.mp4, <actor>__<scene>.mp4
    manipulated_sequences/<method>/{raw,c23,c40}/videos             <target>_<source>.mp4,
                                                                    <target>_<source>__<scene>__<8 chars>.mp4

A youtube clip's number stands for the person in it, an actor's number for the actor. Two youtube clips may be cut from
one upload: `conversion_dict.json` tells, and such clips are kept together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mrigan.catalog.clips import ORIGINAL, Clip, clip_id
from mrigan.catalog.readers.common import MISSING, Problem, Problems, ScanResult, count_difference, found_clips
from mrigan.catalog.readers.faceforensics_lists import Lists, list_differences, read_sources, read_splits
from mrigan.catalog.readers.folder import VIDEO_SUFFIXES, Folder, listing
from mrigan.errors import CatalogError

DATASET = "faceforensics"
COMPRESSIONS = ("raw", "c23", "c40")
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
ACTORS = "DeepFakeDetection"
PUBLISHED_ACTORS, PUBLISHED_ACTOR_FAKES = 363, 3_068
REALS = {"youtube": r"(?P<target>\d{3})", "actors": r"(?P<target>\d{2})__[a-z0-9_]+"}
SWAP = r"(?P<original>(?P<target>\d{3}))_(?P<donor>\d{3})"
ACTOR_SWAP = r"(?P<target>\d{2})_(?P<donor>\d{2})__(?P<scene>[a-z0-9_]+)__[A-Za-z0-9]{8}"
EVERY = frozenset(f"{number:03d}" for number in range(1000))
LAYOUT = (
    "expected ROOT/original_sequences/{youtube,actors}/{raw,c23,c40}/videos/*.mp4 and "
    "ROOT/manipulated_sequences/<method>/{raw,c23,c40}/videos/*.mp4"
)


@dataclass(frozen=True)
class _Found:
    """The files of one folder. `part` is youtube, actors or the method; `real` says which of the two it is."""

    part: str
    compression: str
    folder: str
    files: list[tuple[re.Match[str], str]]

    @property
    def real(self) -> bool:
        return self.part in REALS


@dataclass(frozen=True)
class _Known:
    """What a clip is looked up in.

    Attributes:
        originals: (compression, name) of the reals that are there. compressions: that are there.
    """

    originals: set[tuple[str, str]]
    compressions: list[str]
    lists: Lists
    sources: dict[str, str]

    def home(self, name: str) -> str:
        """The compression that names the family of fakes whose original is not there in their own."""
        held = [compression for compression in self.compressions if (compression, name) in self.originals]
        return (held or self.compressions)[0]


def read_faceforensics(root: Path, splits: Path | None = None) -> ScanResult:
    """The clips of FaceForensics++.

    Args:
        splits: the folder with train.json, val.json and test.json; actors are on no list and stay without a split.

    Raises:
        CatalogError: not this layout, no clips, a link that leads out, or broken lists.
    """
    root = Path(root)
    listing(root, LAYOUT)
    lists = read_splits(splits) if splits is not None else Lists()
    sources = read_sources(root, splits)
    problems = Problems()
    found = list(_folders(root, problems))
    known = _Known(
        {(one.compression, match[0]) for one in found if one.real for match, _ in one.files},
        [name for name in COMPRESSIONS if any(one.compression == name for one in found)],
        lists,
        sources,
    )
    clips = [_clip(one, match, name, known) for one in found for match, name in one.files]
    for clip in clips:
        if clip.label == "fake" and clip.original is None:
            problems.add(MISSING, clip.path)
    notes = ["a youtube clip's number stands for its person; DeepFakeDetection's people are its actors"]
    if not sources:
        notes.append("no conversion_dict.json: clips that were cut from one upload cannot be kept together")
    if splits is not None:
        unlisted = sum(not clip.official_split for clip in clips)
        if unlisted:
            notes.append(f"{unlisted} clips (actors) are on no split list: no split for them without --val or --test")
    clips = found_clips(clips, root, problems, LAYOUT)
    differences = [*_differences(found, lists), *list_differences(lists, sources)]
    return ScanResult(root, clips, problems.counted(), notes, splits is not None, differences)


def _folders(root: Path, problems: Problems) -> list[_Found]:
    found = []
    for above, parts in (("original_sequences", tuple(REALS)), ("manipulated_sequences", (*METHODS, ACTORS))):
        if (root / above).is_dir():
            for part in Folder(root / above).folders():
                if part not in parts:
                    problems.add("passed over: no part of the data set", f"{above}/{part}")
        for part in parts:
            pattern = REALS.get(part) or (ACTOR_SWAP if part == ACTORS else SWAP)
            for compression in COMPRESSIONS:
                folder = f"{above}/{part}/{compression}/videos"
                if (root / folder).is_dir():
                    files = Folder(root / folder).matching(pattern, VIDEO_SUFFIXES, problems, f"{folder}/")
                    found.append(_Found(part, compression, folder, list(files)))
    if not found:
        raise CatalogError("no folder of videos of this data set", where=root, fix=LAYOUT)
    return found


def _clip(one: _Found, match: re.Match[str], name: str, known: _Known) -> Clip:
    target, donor = match["target"], None if one.real else match["donor"]
    original, family = None, ""
    if donor is not None:
        of = f"{target}__{match['scene']}" if one.part == ACTORS else target
        there = (one.compression, of) in known.originals
        family = clip_id(DATASET, ORIGINAL, one.compression if there else known.home(of), of)
        original = family if there else None
    return Clip(
        DATASET,
        ORIGINAL if one.real else one.part,
        one.compression,
        match[0],
        f"{one.folder}/{name}",
        "real" if one.real else "fake",
        original,
        targets=(_person(target),),
        donors=() if donor is None else (_person(donor),),
        source=known.sources.get(target, ""),
        donor_sources=(known.sources[donor],) if donor in known.sources else (),
        official_split=known.lists.split_of.get(target, ""),
        family=family,
    )


def _person(number: str) -> str:
    return number if len(number) == 3 else f"actor {number}"


def _differences(found: list[_Found], lists: Lists) -> list[Problem]:
    """Folder by folder, for the compressions that are there."""
    names = {(one.part, one.compression): [match for match, _ in one.files] for one in found}
    here = [compression for compression in COMPRESSIONS if any(key[1] == compression for key in names)]
    absent, counted, more = Problems(), Problems(), list[Problem]()
    absent.extend("of the 3 published compressions are not here", set(COMPRESSIONS) - set(here))
    for compression in here:
        for part in ("youtube", *METHODS, "actors", ACTORS):
            matches = names.get((part, compression))
            if matches is None:
                absent.add(f"of the 8 published parts are not here in {compression}", part)
            elif part in ("actors", ACTORS):
                published = PUBLISHED_ACTORS if part == "actors" else PUBLISHED_ACTOR_FAKES
                more += count_difference(published, len(matches), f"clips of {part} in {compression}")
            else:
                missing = f"of the 1,000 published clips of {part} in {compression} are not here"
                _compare(part, [match[0] for match in matches], lists, missing, counted)
    return [*absent.counted(), *counted.counted(), *more]


def _compare(part: str, names: list[str], lists: Lists, missing: str, counted: Problems) -> None:
    """Names by the split lists where there are some; else each of the 1,000 clips is a target once."""
    if part != "youtube" and lists.pairs:
        official = {f"{target}_{donor}" for target, donor in lists.pairs}
        counted.extend(missing, official - set(names))
        counted.extend("fakes of pairs that are on no split list", (f"{part}/{name}" for name in set(names) - official))
        return
    targets = [name[:3] for name in names]
    counted.extend(missing, (target if part == "youtube" else f"{target}_*" for target in EVERY - set(targets)))
    if len(set(targets)) < len(targets):
        twice = {target for target in targets if targets.count(target) > 1}
        counted.extend("targets with more than one fake", (f"{part}/{target}_*" for target in twice))

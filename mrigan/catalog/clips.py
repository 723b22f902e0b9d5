"""The clip, the family, the catalog: what videos exist and which belong together."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from mrigan.files import hash_json

SPLITS = ("train", "val", "test")
LABELS = ("real", "fake")
ORIGINAL = "original"  # the method of every real clip


def clip_id(dataset: str, method: str, compression: str, name: str) -> str:
    """`dataset/method/compression/name`, "-" for an empty part. Two methods with clips of one name stay two clips."""
    return "/".join(part or "-" for part in (dataset, method, compression, name))


@dataclass(frozen=True)
class Clip:
    """One video (or still) and what is known about it.

    Attributes:
        dataset, method, compression, name: together the identity; `name` may contain "/"; reals have method "original".
        path: of the file, relative to the catalog's root, with "/".
        label: "real" or "fake".
        original: id of the clip this fake was made from, None where unknown or not there.
        targets: people seen in the clip. donors: people whose face was put in.
        group: what else must stay together: a person, an upload source, a part of a data set; "" if nothing is known.
        official_split: the publisher's split, "" if none.
        family: id of the original (also of one that is named but missing: its fakes stay together), or the own id.
        split: "train", "val", "test", or "" before `assign_splits`.
    """

    dataset: str
    method: str
    compression: str
    name: str
    path: str
    label: str
    original: str | None = None
    targets: tuple[str, ...] = ()
    donors: tuple[str, ...] = ()
    group: str = ""
    official_split: str = ""
    family: str = ""
    split: str = ""

    def __post_init__(self) -> None:
        if not self.family:
            object.__setattr__(self, "family", self.original or self.id)

    @property
    def id(self) -> str:
        return clip_id(self.dataset, self.method, self.compression, self.name)


@dataclass(frozen=True)
class Family:
    """One original (None where it is missing) and all fakes made from it."""

    id: str
    original: Clip | None
    fakes: list[Clip]
    split: str

    @property
    def clips(self) -> list[Clip]:
        """The original first."""
        return [self.original, *self.fakes] if self.original else list(self.fakes)


class Catalog:
    """Clips in the order of their ids, and the folder that their paths are relative to."""

    def __init__(self, root: Path, clips: list[Clip]) -> None:
        self.root = Path(root)
        self.clips = sorted(clips, key=lambda clip: clip.id)

    def __len__(self) -> int:
        return len(self.clips)

    def path(self, clip: Clip) -> Path:
        """Where the clip's file lies."""
        return self.root / clip.path

    def families(self) -> list[Family]:
        """Families in the order of their ids; a family that a planted leak tears apart takes its original's split."""
        members: dict[str, list[Clip]] = defaultdict(list)
        for clip in self.clips:
            members[clip.family].append(clip)
        families = []
        for key in sorted(members):
            original = next((clip for clip in members[key] if clip.id == key and clip.label == "real"), None)
            fakes = [clip for clip in members[key] if clip is not original]
            families.append(Family(key, original, fakes, (original or fakes[0]).split))
        return families

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all rows, whatever folder they lie in."""
        return hash_json([asdict(clip) for clip in self.clips])

    def with_splits(self, split_of: dict[str, str]) -> Catalog:
        """The same clips, each in the split that `split_of[clip.id]` names."""
        return Catalog(self.root, [replace(clip, split=split_of[clip.id]) for clip in self.clips])

    def summary(self) -> dict[tuple[str, str, str], Counter[str]]:
        """Number of clips by (data set, method, compression) and split."""
        counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        for clip in self.clips:
            counts[clip.dataset, clip.method, clip.compression][clip.split] += 1
        return dict(sorted(counts.items()))

"""The clip, the family, the catalog: what videos exist and which belong together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

from mrigan.errors import CatalogError
from mrigan.files import hash_json

SPLITS = ("train", "val", "test")
LABELS = ("real", "fake")
ORIGINAL = "original"  # the method of every real clip


def clip_id(dataset: str, method: str, compression: str, name: str) -> str:
    """`dataset/method/compression/name`, "-" for an empty part. Two methods with clips of one name stay two clips."""
    return f"{dataset or '-'}/{method or '-'}/{compression or '-'}/{name or '-'}"


@dataclass(frozen=True)
class Clip:
    """One video, or one still (`path` ends like a picture), and what is known about it.

    Attributes:
        dataset, method, compression, name: together the identity; `name` may contain "/"; reals have method "original".
        path: of the file, relative to its data set's root, with "/".
        label: "real" or "fake".
        original: id of the real clip this fake was made from (of a fake of a fake: in the end), None where unknown or
            not there.
        targets: people seen in the clip. donors: people whose face was put in.
        group: what else must stay together: a part of a data set, a photographer; "" if nothing is known.
        source: the upload that the clip was cut from (a fake: its target's); "" if not known.
        donor_sources: the uploads that the donors' faces come from.
        official_split: the publisher's split, "" if none.
        family: id of the original (also of one that is named but missing: its fakes stay together), or the own id. Two
            files that are the same clip, or two names of one missing original, share it.
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
    source: str = ""
    donor_sources: tuple[str, ...] = ()
    official_split: str = ""
    family: str = ""
    split: str = ""

    def __post_init__(self) -> None:
        if not self.family:
            object.__setattr__(self, "family", self.original or self.id)

    @property
    def id(self) -> str:
        return clip_id(self.dataset, self.method, self.compression, self.name)

    def in_split(self, split: str) -> Clip:
        """The same clip in another split; a tenth of what `dataclasses.replace` costs, for millions of them."""
        other = object.__new__(Clip)
        other.__dict__.update(self.__dict__, split=split)
        return other

    @property
    def pairs_with(self) -> tuple[bool, str]:
        """Which clips are worked on together: (True, id of the real clip), or (False, family) without an original."""
        return (True, self.original or self.id) if self.original or self.label == "real" else (False, self.family)


@dataclass(frozen=True)
class Family:
    """One original (None where it is missing) and all fakes made from it.

    `id` is the original's, or the one that its fakes share. Two files of one clip share `Clip.family`, not this.

    Of a family that a published list tears apart, the part in one split: its fakes there, the original wherever it is.
    """

    id: str
    original: Clip | None
    fakes: list[Clip]
    split: str

    @property
    def clips(self) -> list[Clip]:
        """The original first."""
        return [self.original, *self.fakes] if self.original else list(self.fakes)

    @property
    def reference(self) -> Clip | None:
        """The original, where it lies in another split: fakes are compared with it, and it is no sample itself."""
        return self.original if self.original and self.original.split != self.split else None

    @property
    def own(self) -> list[Clip]:
        """The clips of its split, the original first."""
        return list(self.fakes) if self.reference else self.clips


@dataclass(frozen=True)
class Making:
    """How the clips of a data set were chosen and split: for whoever reads the catalog, and no part of its hash.

    Attributes:
        splits: "official", "drawn", or "" where nothing is split.
        seed, fractions: what was drawn by.
        relax_donors: a donor's face may be on another side than the donor; `audit` then lists such leaks as allowed.
        taken: the fraction of the clips that was taken, by whole families; 1 = all. take_seed: drew them.
        scope: within which people, groups and uploads are known by name: the data sets of a manifest share one;
            "" = the data set itself.
        unclear: families whose original is named so that several files fit → paths of these; `audit` fails.
        absent: families of clips whose original is not there → its names, where the family is not called by them.
    """

    splits: str = ""
    seed: int = 0
    fractions: Mapping[str, float] | None = None
    relax_donors: bool = False
    taken: float = 1.0
    take_seed: int = 0
    scope: str = ""
    unclear: Mapping[str, Sequence[str]] | None = None
    absent: Mapping[str, Sequence[str]] | None = None


class Catalog:
    """Clips in the order of their ids, and for each data set the folder that its paths are relative to.

    Args:
        root: the folder of all data sets, or a folder for each.
        making: for each data set how its clips were chosen and split.
    """

    def __init__(
        self, root: str | Path | Mapping[str, Path], clips: list[Clip], making: Mapping[str, Making] | None = None
    ) -> None:
        self.clips = sorted(clips, key=attrgetter("id"))
        datasets = sorted({clip.dataset for clip in clips})
        roots = root if isinstance(root, Mapping) else dict.fromkeys(datasets, Path(root))
        self.roots = {dataset: Path(roots[dataset]) for dataset in datasets}
        self.components: dict[bool, list[list[Clip]]] = {}  # by `relax_donors`; filled by `splits.components`
        self.making = {dataset: (making or {}).get(dataset, Making()) for dataset in datasets}

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def root(self) -> Path:
        """The folder of all data sets.

        Raises:
            CatalogError: they lie in several (see `roots`), or there is no clip.
        """
        folders = set(self.roots.values())
        if len(folders) != 1:
            raise CatalogError(f"the data sets of this catalog lie in {len(folders)} folders, not in one")
        return folders.pop()

    def path(self, clip: Clip) -> Path:
        """Where the clip's file lies."""
        return self.roots[clip.dataset] / clip.path

    def by_family(self) -> dict[str, list[Clip]]:
        """The clips of each family, families in the order of their ids."""
        members: dict[str, list[Clip]] = defaultdict(list)
        for clip in self.clips:
            members[clip.family].append(clip)
        return {key: members[key] for key in sorted(members)}

    def families(self) -> list[Family]:
        """Each original with its fakes, in the order of their ids; one that a planted leak tears apart takes its
        original's split."""
        members: dict[tuple[str, bool], list[Clip]] = defaultdict(list)
        for clip in self.clips:
            paired, key = clip.pairs_with
            members[key, paired].append(clip)
        families = []
        for key, paired in sorted(members):
            clips = members[key, paired]
            original = next((clip for clip in clips if paired and clip.id == key), None)
            fakes = [clip for clip in clips if clip is not original]
            families.append(Family(key, original, fakes, (original or fakes[0]).split))
        return families

    def scope(self, dataset: str) -> str:
        """Within what the people, groups and uploads of a data set are known by name."""
        return self.making[dataset].scope or dataset

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all rows, whatever folders they lie in."""
        row = attrgetter(*(field.name for field in fields(Clip)))
        return hash_json([row(clip) for clip in self.clips])

    def with_splits(self, split_of: dict[str, str]) -> Catalog:
        """The same clips, each in the split that `split_of[clip.id]` names."""
        return self.with_clips([clip.in_split(split_of[clip.id]) for clip in self.clips])

    def with_making(self, **made: Any) -> Catalog:
        """The same clips, with fields of every data set's `Making` changed."""
        return Catalog(self.roots, self.clips, {name: replace(old, **made) for name, old in self.making.items()})

    def with_clips(self, clips: list[Clip]) -> Catalog:
        """Other clips of the same data sets."""
        return Catalog(self.roots, clips, self.making)

    def summary(self) -> dict[tuple[str, str, str], Counter[str]]:
        """Number of clips by (data set, method, compression) and split."""
        counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        for clip in self.clips:
            counts[clip.dataset, clip.method, clip.compression][clip.split] += 1
        return dict(sorted(counts.items()))

"""`Clip`, `Family` and `Catalog`: which videos exist, and which of them belong together."""

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
    """`dataset/method/compression/name`, with "-" for an empty part."""
    return f"{dataset or '-'}/{method or '-'}/{compression or '-'}/{name or '-'}"


@dataclass(frozen=True)
class Clip:
    """One video or one still picture, and what is known about it.

    Attributes:
        dataset, method, compression, name: the identity of the clip. `name` may contain "/"; real clips have the method
            "original".
        path: the file's path relative to the root of its data set, with "/".
        label: "real" or "fake".
        original: id of the real clip that this fake was made from (for a fake of a fake: the first real clip). None if
            it is unknown or missing.
        targets: people seen in the clip. donors: people whose face was put in.
        group: clips of one group stay in one split: a part of a data set, a photographer; "" = no group.
        source: the upload that the clip was cut from (for a fake: its target's upload); "" = unknown.
        donor_sources: the uploads that the donors' faces come from.
        official_split: the publisher's split; "" = none.
        family: id of the original, also if that is named but missing; without an original, the clip's own id. Two files
            of the same clip share it, and so do two names of one missing original.
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
        """The same clip in another split; ten times as fast as `dataclasses.replace`, for millions of clips."""
        other = object.__new__(Clip)
        other.__dict__.update(self.__dict__, split=split)
        return other

    @property
    def pairs_with(self) -> tuple[bool, str]:
        """The key of the clips that are packed together: (True, id of the real clip), or (False, family)."""
        return (True, self.original or self.id) if self.original or self.label == "real" else (False, self.family)


@dataclass(frozen=True)
class Family:
    """One original (None if it is missing) and all fakes made from it.

    `id` is the id of the original, or the family id that its fakes share. Two files of one clip are two `Family`
    objects, although they share `Clip.family`. If a published list puts a family into several splits, a `Family` holds
    the fakes of one split, and the original from any split.
    """

    id: str
    original: Clip | None
    fakes: list[Clip]
    split: str

    @property
    def clips(self) -> list[Clip]:
        """All clips, the original first."""
        return [self.original, *self.fakes] if self.original else list(self.fakes)

    @property
    def reference(self) -> Clip | None:
        """The original, if it is in another split: its fakes are compared with it, but it is not a sample itself."""
        return self.original if self.original and self.original.split != self.split else None

    @property
    def own(self) -> list[Clip]:
        """The clips of this family's split, the original first."""
        return list(self.fakes) if self.reference else self.clips


@dataclass(frozen=True)
class Making:
    """How the clips of a data set were chosen and split. Not part of the catalog's hash.

    Attributes:
        splits: "official", "drawn", or "" = not split.
        seed, fractions: how the splits were drawn.
        relax_donors: a donor and the fakes with the donor's face may be in different splits; `audit` lists such leaks
            as allowed.
        taken: the fraction of the clips that was kept, by whole families; 1 = all. take_seed: the seed that drew them.
        scope: the namespace of the names of people, groups and uploads. The data sets of a manifest share one; "" = the
            data set itself.
        unclear: family whose original's name fits several files → the paths of these; `audit` fails.
        absent: family whose original is missing → the names of that original, if the family's id does not show them.
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
    """Clips sorted by id, and for each data set its root folder, which the clips' paths are relative to.

    Args:
        root: one folder for all data sets, or a folder for each data set.
        making: by data set, how its clips were chosen and split.
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
            CatalogError: the data sets are in several folders (see `roots`), or the catalog is empty.
        """
        folders = set(self.roots.values())
        if len(folders) != 1:
            raise CatalogError(f"the data sets of this catalog are in {len(folders)} folders, not in one")
        return folders.pop()

    def path(self, clip: Clip) -> Path:
        """The path of the clip's file."""
        return self.roots[clip.dataset] / clip.path

    def by_family(self) -> dict[str, list[Clip]]:
        """The clips of each family, sorted by family id."""
        members: dict[str, list[Clip]] = defaultdict(list)
        for clip in self.clips:
            members[clip.family].append(clip)
        return {key: members[key] for key in sorted(members)}

    def families(self) -> list[Family]:
        """Each original with its fakes, sorted by id. The family takes the split of its original."""
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
        """The namespace of the people, groups and uploads of a data set (see `Making`)."""
        return self.making[dataset].scope or dataset

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all rows; independent of the root folders."""
        row = attrgetter(*(field.name for field in fields(Clip)))
        return hash_json([row(clip) for clip in self.clips])

    def with_splits(self, split_of: dict[str, str]) -> Catalog:
        """The same clips, each in the split `split_of[clip.id]`."""
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

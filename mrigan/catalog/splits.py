"""Split clips into train, val and test so that no two splits share a person, an original or a group.

A random split of frames or clips puts one person into several splits; a detector is then scored on memorized faces.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mrigan.catalog.clips import SPLITS, Catalog, Clip
from mrigan.errors import ConfigError

DEFAULT_FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}
Stratum = tuple[str, str]  # (data set, method): each is spread over the splits by the fractions
Tie = tuple[str, str]  # (kind, key)


def ties(clip: Clip, root: str | Path = "", relax_donors: bool = False, scope: str = "") -> Iterator[Tie]:
    """The (kind, key) pairs of a clip: clips that share a pair must be in one split.

    Args:
        root: the folder that the clip's path is relative to.
        scope: the namespace of people, groups and uploads (see `Making`); by default the clip's data set.
        relax_donors: without the pairs that tie a fake to its donors.
    """
    scope = scope or clip.dataset
    yield "family", clip.family
    if clip.original is not None:
        yield "original", clip.original
    elif clip.label == "real":
        yield "original", clip.id
    for person in clip.targets:
        yield "person", f"{scope}: {person}"
    if clip.source:
        yield "upload source", f"{scope}: {clip.source}"
    if not relax_donors:
        for person in clip.donors:
            yield "person", f"{scope}: {person}"
        for source in clip.donor_sources:
            yield "upload source", f"{scope}: {source}"
    if clip.group:
        yield "group", f"{scope}: {clip.group}"
    yield "file", f"{root}/{clip.path}"


def components(catalog: Catalog, relax_donors: bool = False) -> list[list[Clip]]:
    """Groups of clips joined by any chain of ties (union-find), sorted by their first id; cached in the catalog."""
    if relax_donors in catalog.components:
        return catalog.components[relax_donors]
    parent = list(range(len(catalog)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    first: dict[Tie, int] = {}
    roots = {dataset: str(folder) for dataset, folder in catalog.roots.items()}
    scopes = {dataset: catalog.scope(dataset) for dataset in roots}
    for index, clip in enumerate(catalog.clips):
        for tie in ties(clip, roots[clip.dataset], relax_donors, scopes[clip.dataset]):
            other = first.setdefault(tie, index)
            if other != index:
                a, b = root(index), root(other)
                parent[max(a, b)] = min(a, b)
    members: dict[int, list[Clip]] = defaultdict(list)
    for index, clip in enumerate(catalog.clips):
        members[root(index)].append(clip)
    catalog.components[relax_donors] = [members[key] for key in sorted(members)]
    return catalog.components[relax_donors]


@dataclass
class _Part:
    """A component, with what `assign_splits` needs of it."""

    clips: list[Clip]
    strata: Counter[Stratum]
    labels: frozenset[str]
    rank: str  # the sort key of the seeded order

    @property
    def size(self) -> int:
        return len(self.clips)


def assign_splits(
    catalog: Catalog,
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    seed: int = 0,
    relax_donors: bool = False,
) -> Catalog:
    """Give every clip a split; all clips of a component (see `components`) get the same split.

    The clips of each data set and method are spread by `fractions` as closely as whole components allow. Every split
    with a fraction above 0 first gets a component with real and fake clips, if there are enough. The result depends
    only on clips, fractions and seed.

    Args:
        relax_donors: a fake and its donor may be in different splits; the catalog records it.

    Raises:
        ConfigError: fractions are negative, sum to 0, or name an unknown split.
    """
    check_fractions(fractions)
    total = sum(fractions.values())
    share = {split: fractions[split] / total for split in SPLITS if fractions.get(split, 0) > 0}
    # The largest split is filled first: with too few components, test and then val stay empty, not train.
    splits = sorted(share, key=lambda split: (-share[split], SPLITS.index(split)))
    free = [_part(clips, seed) for clips in components(catalog, relax_donors)]
    free.sort(key=lambda part: part.rank)
    total_of: Counter[Stratum] = Counter()
    for part in free:
        total_of.update(part.strata)
    parts_of: dict[str, list[_Part]] = {split: [] for split in splits}
    count_of: dict[str, Counter[Stratum]] = {split: Counter() for split in splits}

    def give(part: _Part, split: str) -> None:
        parts_of[split].append(part)
        count_of[split].update(part.strata)

    def deficit(part: _Part, split: str) -> float:
        counts = count_of[split]
        return sum(n * (share[split] - counts[stratum] / total_of[stratum]) for stratum, n in part.strata.items())

    for labels in (frozenset({"real", "fake"}), frozenset({"real"}), frozenset({"fake"})):
        short = [s for s in splits if not labels <= frozenset().union(*(part.labels for part in parts_of[s]))]
        for split in short:
            if fit := [part for part in free if labels <= part.labels]:
                part = _choose(fit, split == splits[0], share[split] * len(catalog))
                free.remove(part)
                give(part, split)

    # Large components first, while there is room for them; the others in the seeded order.
    room = min(share.values()) * len(catalog)
    for part in sorted(free, key=lambda part: (-part.size if part.size > room else 0, part.rank)):
        give(part, max(splits, key=lambda split: deficit(part, split)))
    split_of = {clip.id: split for split, parts in parts_of.items() for part in parts for clip in part.clips}
    made = {"splits": "drawn", "seed": seed, "fractions": dict(fractions), "relax_donors": relax_donors}
    return catalog.with_splits(split_of).with_making(**made)


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Raise ConfigError if `fractions` are negative, sum to 0, or name an unknown split."""
    unknown = set(fractions) - set(SPLITS)
    if unknown or not all(value >= 0 for value in fractions.values()) or not sum(fractions.values()) > 0:
        given = ", ".join(f"{split} {value:g}" for split, value in fractions.items())
        raise ConfigError(f"cannot split by {given}", fix="give fractions from 0 to 1 whose sum is at most 1")


def _part(clips: list[Clip], seed: int) -> _Part:
    rank = hashlib.sha256(f"{seed}\n{clips[0].id}".encode()).hexdigest()
    strata = Counter((clip.dataset, clip.method) for clip in clips)
    return _Part(clips, strata, frozenset(clip.label for clip in clips), rank)


def _choose(parts: list[_Part], largest: bool, room: float) -> _Part:
    """The largest part if `largest`; else the first in the seeded order that fits into `room`, or the smallest."""
    if largest:
        return max(parts, key=lambda part: part.size)
    return next((part for part in parts if part.size <= room), None) or min(parts, key=lambda part: part.size)

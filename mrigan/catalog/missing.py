"""Originals that are missing in one data set: what another calls alike is the same clip, and on the same side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from mrigan.catalog.clips import SPLITS, Catalog
from mrigan.catalog.originals import Parts, Union, folded, name_parts
from mrigan.catalog.splits import components

MAX_ALIKE = 100  # files of one name; a name that more of them have (video.mp4) tells nothing


def missing_names(catalog: Catalog) -> dict[str, list[str]]:
    """The names of the originals that are named and not there, by family."""
    alone = [
        clip for clip in catalog.clips if clip.original is None and clip.label == "fake" and clip.family != clip.id
    ]
    if not alone:
        return {}
    fakes = {clip.id for clip in catalog.clips if clip.label == "fake"}
    absent = {key: list(names) for made in catalog.making.values() for key, names in (made.absent or {}).items()}
    found: dict[str, list[str]] = {}
    for clip in alone:
        if clip.family not in fakes:  # of the same fake in another compression
            found[clip.family] = absent.get(clip.family) or [clip.family.split("/", 3)[-1]]
    return found


def reunite(catalog: Catalog) -> Catalog:
    """One family for the fakes of one missing original in several data sets, with that original where another data set
    has it: told by its file name, where each data set has one family of that name; else by the end of its path, where
    one clip fits.

    Data sets that were split one by one may have put it on two sides. Where they were drawn, what hangs together moves
    to the side that holds most of it; published splits stay, and `audit` says what leaks.
    """
    families = Union()
    pairs = list(_same(catalog))
    if not pairs:
        return catalog
    for a, b in pairs:
        families.join(a, b)
    there = {clip.id for clip in catalog.clips}
    called: dict[str, str] = {}
    for family in sorted({clip.family for clip in catalog.clips}, key=lambda family: (family not in there, family)):
        called.setdefault(families.root(family), family)
    named = {clip.id: called[families.root(clip.family)] for clip in catalog.clips}
    changed = {family for clip in catalog.clips if (family := named[clip.id]) != clip.family}
    if not changed:
        return catalog
    united = catalog.with_clips([replace(clip, family=named[clip.id]) for clip in catalog.clips])
    drawn = {dataset for dataset, made in catalog.making.items() if made.splits == "drawn"}
    split_of = {clip.id: clip.split for clip in united.clips}
    for clips in components(united, any(made.relax_donors for made in united.making.values())):
        sides = Counter(clip.split for clip in clips)
        if len(sides) > 1 and {clip.dataset for clip in clips} <= drawn and any(c.family in changed for c in clips):
            side = max(SPLITS, key=lambda split: sides[split])
            split_of |= {clip.id: side for clip in clips}
    return united.with_splits(split_of)


@dataclass(frozen=True)
class _Called:
    """A family by the name of its original, which is missing, or there."""

    parts: Parts
    dataset: str
    family: str
    missing: bool


def _same(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Pairs of families in two data sets: of one missing original, or of a missing one and a clip that is it."""
    for called in _by_file_name(catalog).values():
        if len(called) > MAX_ALIKE:
            continue
        by_dataset: dict[str, set[str]] = defaultdict(set)
        for one in called:
            by_dataset[one.dataset].add(one.family)
        for a, b in combinations(called, 2):
            if a.dataset == b.dataset or not (a.missing or b.missing):
                continue
            single = len(by_dataset[a.dataset]) == len(by_dataset[b.dataset]) == 1
            if single or {x.family for x in called if x.dataset == b.dataset and _alike(a, x)} == {b.family}:
                yield a.family, b.family


def _by_file_name(catalog: Catalog) -> dict[str, list[_Called]]:
    """What is called by each file name that a missing original has."""
    missing = missing_names(catalog)
    dataset_of = {clip.family: clip.dataset for clip in catalog.clips} if missing else {}
    found: dict[str, dict[_Called, None]] = defaultdict(dict)
    for family, names in missing.items():
        for parts in filter(None, map(name_parts, names)):
            found[parts[-1]][_Called(parts, dataset_of[family], family, True)] = None
    for clip in catalog.clips if found else ():
        if clip.label == "real" and (end := folded(clip.path.rpartition("/")[2])) in found:
            found[end][_Called(name_parts(clip.path), clip.dataset, clip.family, False)] = None
    return {end: list(called) for end, called in found.items()}


def _alike(a: _Called, b: _Called) -> bool:
    """Whether one path ends like the other."""
    length = min(len(a.parts), len(b.parts))
    return a.parts[-length:] == b.parts[-length:]

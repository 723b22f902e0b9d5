"""Originals that are missing in one data set and present, or missing too, under the same name in another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from mrigan.catalog.clips import SPLITS, Catalog
from mrigan.catalog.originals import Parts, Union, folded, name_parts
from mrigan.catalog.splits import components

MAX_ALIKE = 100  # files of one name; a name that more files have (video.mp4) identifies nothing


def missing_names(catalog: Catalog) -> dict[str, list[str]]:
    """Family → names of its original, for the originals that are named but missing."""
    alone = [
        clip for clip in catalog.clips if clip.original is None and clip.label == "fake" and clip.family != clip.id
    ]
    if not alone:
        return {}
    fakes = {clip.id for clip in catalog.clips if clip.label == "fake"}
    absent = {key: list(names) for made in catalog.making.values() for key, names in (made.absent or {}).items()}
    return {
        clip.family: absent.get(clip.family) or [clip.family.split("/", 3)[-1]]
        for clip in alone
        if clip.family not in fakes  # the family of the same fake in another compression
    }


def reunite(catalog: Catalog) -> Catalog:
    """Make one family of the fakes of one missing original in several data sets, and of that original if one has it.

    Originals are matched by file name if each data set has one family of that name, else by the end of the path if one
    clip fits. Families that were joined may be in two splits. If their splits were drawn, all joined clips move to the
    split that has most of them. Published splits stay, and `audit` reports the leak.
    """
    families = Union()
    pairs = list(_same(catalog))
    if not pairs:
        return catalog
    for a, b in pairs:
        families.join(a, b)
    ids = {clip.id for clip in catalog.clips}
    names: dict[str, str] = {}
    for family in sorted({clip.family for clip in catalog.clips}, key=lambda family: (family not in ids, family)):
        names.setdefault(families.root(family), family)
    family_of = {clip.id: names[families.root(clip.family)] for clip in catalog.clips}
    changed = {family for clip in catalog.clips if (family := family_of[clip.id]) != clip.family}
    if not changed:
        return catalog
    united = catalog.with_clips([replace(clip, family=family_of[clip.id]) for clip in catalog.clips])
    drawn = {dataset for dataset, made in catalog.making.items() if made.splits == "drawn"}
    split_of = {clip.id: clip.split for clip in united.clips}
    for clips in components(united, any(made.relax_donors for made in united.making.values())):
        counts = Counter(clip.split for clip in clips)
        if len(counts) > 1 and {clip.dataset for clip in clips} <= drawn and any(c.family in changed for c in clips):
            split_of |= dict.fromkeys((clip.id for clip in clips), max(SPLITS, key=counts.__getitem__))
    return united.with_splits(split_of)


@dataclass(frozen=True)
class _NamedFamily:
    """A family and the name of its original, which is missing or present."""

    parts: Parts
    dataset: str
    family: str
    missing: bool


def _same(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Pairs of families in two data sets that have the same original, which is missing in at least one of them."""
    for alike in _by_file_name(catalog).values():
        if len(alike) > MAX_ALIKE:
            continue
        by_dataset: dict[str, set[str]] = defaultdict(set)
        for one in alike:
            by_dataset[one.dataset].add(one.family)
        for a, b in combinations(alike, 2):
            if a.dataset == b.dataset or not (a.missing or b.missing):
                continue
            single = len(by_dataset[a.dataset]) == len(by_dataset[b.dataset]) == 1
            if single or {x.family for x in alike if x.dataset == b.dataset and _same_end(a, x)} == {b.family}:
                yield a.family, b.family


def _by_file_name(catalog: Catalog) -> dict[str, list[_NamedFamily]]:
    """File name of a missing original → the families whose original has that name."""
    missing = missing_names(catalog)
    dataset_of = {clip.family: clip.dataset for clip in catalog.clips} if missing else {}
    families: dict[str, dict[_NamedFamily, None]] = defaultdict(dict)
    for family, names in missing.items():
        for parts in filter(None, map(name_parts, names)):
            families[parts[-1]][_NamedFamily(parts, dataset_of[family], family, True)] = None
    for clip in catalog.clips if families else ():
        if clip.label == "real" and (end := folded(clip.path.rpartition("/")[2])) in families:
            families[end][_NamedFamily(name_parts(clip.path), clip.dataset, clip.family, False)] = None
    return {end: list(alike) for end, alike in families.items()}


def _same_end(a: _NamedFamily, b: _NamedFamily) -> bool:
    """Whether one path ends with the other."""
    length = min(len(a.parts), len(b.parts))
    return a.parts[-length:] == b.parts[-length:]

"""Several data sets become one catalog; a part of one is taken by whole families."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mrigan.catalog.clips import Catalog, Clip, Making
from mrigan.catalog.missing import reunite
from mrigan.errors import CatalogError, ConfigError


def merge_catalogs(catalogs: Sequence[Catalog]) -> Catalog:
    """All clips of several catalogs, as they are split; each data set keeps its own root.

    People, groups and uploads are known by name within their scope only, so that data sets that are split one by one
    stay separate; `audit` finds files that two of them share. An original that is missing in one of them and has the
    same name in another is one clip: see `reunite`.

    Raises:
        CatalogError: a clip is in two of them, or a data set lies in two folders.
    """
    roots: dict[str, Path] = {}
    making: dict[str, Making] = {}
    clips: dict[str, Clip] = {}
    for catalog in catalogs:
        for dataset, root in catalog.roots.items():
            if roots.setdefault(dataset, root) != root:
                raise CatalogError(
                    f"data set {dataset} lies in two folders: {roots[dataset]} and {root}",
                    fix="link its parts into one folder and scan that; two sets of your own need two data set names",
                )
            if making.setdefault(dataset, catalog.making[dataset]) != catalog.making[dataset]:
                raise CatalogError(
                    f"data set {dataset} is split in two ways",
                    fix="scan it once, with all of its clips, and merge that",
                )
        for clip in catalog.clips:
            if clips.setdefault(clip.id, clip) is not clip:
                raise CatalogError(f"clip {clip.id} is in two of the catalogs", fix="merge each data set once")
    merged = Catalog(roots, list(clips.values()), making)
    return reunite(merged) if len(catalogs) > 1 else merged


def take(catalog: Catalog, fractions: Mapping[str, float], seed: int = 0) -> Catalog:
    """A part of some data sets: whole families, drawn by the seed, until they hold that fraction of the clips.

    Each split of a data set is reduced alike, so that what was balanced stays so. The families of a smaller fraction
    are among those of a larger one. Where a fraction above 0 would leave nothing of a split, one family stays.

    Args:
        fractions: by data set, above 0 and at most 1; data sets that are not named stay whole.

    Raises:
        ConfigError: a fraction out of range, or a data set that the catalog does not hold.
    """
    for dataset, fraction in fractions.items():
        if not 0 < fraction <= 1:
            raise ConfigError(f"cannot take {fraction:g} of {dataset}", fix="give a fraction above 0 and at most 1")
        if dataset not in catalog.roots:
            raise ConfigError(f"no data set {dataset}", fix=f"the catalog holds {', '.join(catalog.roots)}")
    kept: list[Clip] = []
    strata: dict[tuple[str, str], list[tuple[str, list[Clip]]]] = defaultdict(list)
    for family, clips in catalog.by_family().items():
        first = next((clip for clip in clips if clip.id == family), clips[0])
        strata[first.dataset, first.split].append((family, clips))
    for (dataset, _), families in strata.items():
        fraction = fractions.get(dataset, 1.0)
        families.sort(key=lambda pair: hashlib.sha256(f"{seed}\ntake\n{pair[0]}".encode()).digest())
        wanted = fraction * sum(len(clips) for _, clips in families)
        have = 0
        for _, clips in families:
            size = len(clips)
            if have and have + size / 2 > wanted + 1e-9:  # a family more would miss the fraction by more
                break
            kept += clips
            have += size
    making = {
        dataset: replace(made, taken=made.taken * fractions[dataset], take_seed=seed) if dataset in fractions else made
        for dataset, made in catalog.making.items()
    }
    return Catalog(catalog.roots, kept, making)


def move_roots(catalog: Catalog, roots: Mapping[str, Path]) -> Catalog:
    """The same clips, for a machine where data sets lie in other folders; the hash stays.

    Raises:
        ConfigError: a data set that the catalog does not hold.
    """
    for dataset in roots:
        if dataset not in catalog.roots:
            raise ConfigError(f"no data set {dataset}", fix=f"the catalog holds {', '.join(catalog.roots)}")
    return Catalog({**catalog.roots, **roots}, catalog.clips, catalog.making)

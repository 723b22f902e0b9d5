"""Merge catalogs of several data sets; keep a part of a catalog by whole families; move root folders."""

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
    """All clips of several catalogs, with their splits; each data set keeps its own root.

    An original that is missing in one catalog and has the same name in another is one clip: see `reunite`. Files that
    two data sets share are found by `audit`.

    Raises:
        CatalogError: a clip is in two catalogs, or a data set has two root folders.
    """
    roots: dict[str, Path] = {}
    making: dict[str, Making] = {}
    clips: dict[str, Clip] = {}
    for catalog in catalogs:
        for dataset, root in catalog.roots.items():
            if roots.setdefault(dataset, root) != root:
                raise CatalogError(
                    f"data set {dataset} has two folders: {roots[dataset]} and {root}",
                    fix="link its parts into one folder and scan that; give two own data sets two names",
                )
            if making.setdefault(dataset, catalog.making[dataset]) != catalog.making[dataset]:
                raise CatalogError(
                    f"data set {dataset} was split in two different ways",
                    fix="scan it once, with all of its clips, and merge that catalog",
                )
        for clip in catalog.clips:
            if clips.setdefault(clip.id, clip) is not clip:
                raise CatalogError(f"clip {clip.id} is in two of the catalogs", fix="merge each data set once")
    merged = Catalog(roots, list(clips.values()), making)
    return reunite(merged) if len(catalogs) > 1 else merged


def take(catalog: Catalog, fractions: Mapping[str, float], seed: int = 0) -> Catalog:
    """Keep a fraction of the clips of some data sets, by whole families drawn by the seed.

    Each split of a data set is reduced by the same fraction and keeps at least one family. A smaller fraction keeps a
    subset of the families that a larger one keeps.

    Args:
        fractions: by data set, above 0 and at most 1; other data sets stay whole.

    Raises:
        ConfigError: a fraction is out of range, or a data set is not in the catalog.
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
        requested = fraction * sum(len(clips) for _, clips in families)
        count = 0
        for _, clips in families:
            if count and count + len(clips) / 2 > requested + 1e-9:  # one more family would be further from `fraction`
                break
            kept += clips
            count += len(clips)
    making = {
        dataset: replace(made, taken=made.taken * fractions[dataset], take_seed=seed) if dataset in fractions else made
        for dataset, made in catalog.making.items()
    }
    return Catalog(catalog.roots, kept, making)


def move_roots(catalog: Catalog, roots: Mapping[str, Path]) -> Catalog:
    """The same clips with other root folders, for another machine; the hash stays the same.

    Raises:
        ConfigError: a data set is not in the catalog.
    """
    for dataset in roots:
        if dataset not in catalog.roots:
            raise ConfigError(f"no data set {dataset}", fix=f"the catalog holds {', '.join(catalog.roots)}")
    return Catalog({**catalog.roots, **roots}, catalog.clips, catalog.making)

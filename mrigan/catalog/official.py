"""Splits as publishers list them, and drawn splits for the clips that their lists leave open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrigan.catalog.clips import Catalog
from mrigan.catalog.splits import assign_splits
from mrigan.errors import CatalogError, ConfigError

Drawn = tuple[Catalog, dict[str, float]]  # (clips, fractions to draw them by)


def official_splits(
    catalog: Catalog, fractions: Mapping[str, float] | None = None, seed: int = 0, relax_donors: bool = False
) -> Catalog:
    """Give every clip its publisher's split, also if that leaks (see `audit`). Clips on no list have no split.

    Args:
        fractions: if given, the clips that the lists leave open (see `left_open`) are split by `assign_splits`.

    Raises:
        CatalogError: no clip has an official split. ConfigError: the lists leave nothing open.
    """
    split_of = {clip.id: clip.official_split for clip in catalog.clips}
    if not any(split_of.values()):
        raise CatalogError(
            f"{len(catalog)} of {len(catalog)} clips have no split, for example {next(iter(split_of), 'none')}",
            fix="give every clip a split, or no clip (then splits are drawn by family)",
        )
    made: dict[str, Any] = {"splits": "official"}
    if fractions is not None:
        for part, shares in left_open(catalog, fractions):
            drawn = assign_splits(part, shares, seed, relax_donors)
            split_of |= {clip.id: clip.split for clip in drawn.clips}
        made |= {"seed": seed, "fractions": dict(fractions), "relax_donors": relax_donors}
    return catalog.with_splits(split_of).with_making(**made)


def left_open(catalog: Catalog, fractions: Mapping[str, float]) -> list[Drawn]:
    """The clips that official lists leave open: clips on no list; and, if there is no official validation set, the
    training clips, from which one is drawn.

    Raises:
        ConfigError: the lists leave nothing open.
    """
    parts: list[Drawn] = []
    unlisted = [clip for clip in catalog.clips if not clip.official_split]
    if unlisted:
        parts.append((catalog.with_clips(unlisted), dict(fractions)))
    val = fractions.get("val", 0.0)
    train = [clip for clip in catalog.clips if clip.official_split == "train"]
    if val > 0 and train and all(clip.official_split != "val" for clip in catalog.clips):
        parts.append((catalog.with_clips(train), {"train": 1 - val, "val": val}))
    if not parts:
        raise ConfigError(
            "the official lists give every clip a split, and name a validation set", fix="leave out --val and --test"
        )
    return parts

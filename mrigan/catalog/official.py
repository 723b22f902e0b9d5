"""The splits that publishers name, as they are; and ours for what their lists leave open."""

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
    """Give every clip its publisher's split, leaks and all; `audit` lists them. Clips on no list stay without a split.

    Args:
        fractions: where given, what the lists leave open (see `left_open`) is drawn by them with `assign_splits`.

    Raises:
        CatalogError: no clip has an official split. ConfigError: the lists leave nothing open.
    """
    split_of = {clip.id: clip.official_split for clip in catalog.clips}
    if not any(split_of.values()):
        raise CatalogError(
            f"{len(catalog)} of {len(catalog)} clips have no split, for example {next(iter(split_of), 'none')}",
            fix="fill the split of every clip, or of none (then splits are drawn by family)",
        )
    made: dict[str, Any] = {"splits": "official"}
    if fractions is not None:
        for part, shares in left_open(catalog, fractions):
            drawn = assign_splits(part, shares, seed, relax_donors)
            split_of |= {clip.id: clip.split for clip in drawn.clips}
        made |= {"seed": seed, "fractions": dict(fractions), "relax_donors": relax_donors}
    return catalog.with_splits(split_of).with_making(**made)


def left_open(catalog: Catalog, fractions: Mapping[str, float]) -> list[Drawn]:
    """What official lists leave to be drawn: clips on no list, and a validation set where the publisher has none.

    The validation set is drawn out of the official training set; official test sets stay as they are.

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
            "the official lists give every clip a split, validation included", fix="leave out --val and --test"
        )
    return parts

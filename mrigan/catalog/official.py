"""The splits that publishers name, as they are; and ours for what their lists leave open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrigan.catalog.clips import Catalog, Clip
from mrigan.catalog.splits import assign_splits
from mrigan.errors import CatalogError, ConfigError


def official_splits(
    catalog: Catalog, fractions: Mapping[str, float] | None = None, seed: int = 0, relax_donors: bool = False
) -> Catalog:
    """Give every clip its publisher's split, leaks and all; `audit` lists them. Clips on no list stay without a split.

    Args:
        fractions: where given, what the lists leave open is drawn by them (see `assign_splits`): clips on no list, and
            a validation set out of the publisher's training set where there is none. Official test sets stay.

    Raises:
        CatalogError: no clip has an official split. ConfigError: the lists leave nothing open.
    """
    split_of = {clip.id: clip.official_split for clip in catalog.clips}
    open_clips = [clip for clip in catalog.clips if not clip.official_split]
    if len(open_clips) == len(catalog):
        raise CatalogError(
            f"{len(open_clips)} of {len(catalog)} clips have no split, for example {open_clips[0].id}",
            fix="fill the split of every clip, or of none (then splits are drawn by family)",
        )
    made: dict[str, Any] = {"splits": "official"}
    if fractions is not None:
        drawn: list[tuple[list[Clip], Mapping[str, float]]] = [(open_clips, fractions)] if open_clips else []
        if fractions.get("val", 0) > 0 and "val" not in split_of.values():
            train = [clip for clip in catalog.clips if clip.official_split == "train"]
            drawn.append((train, {"train": 1 - fractions["val"], "val": fractions["val"]}))
        if not drawn:
            raise ConfigError(
                "the official lists give every clip a split, validation included", fix="leave out --val and --test"
            )
        for clips, shares in drawn:
            part = assign_splits(catalog.with_clips(clips), shares, seed, relax_donors)
            split_of |= {clip.id: clip.split for clip in part.clips}
        made |= {"seed": seed, "fractions": dict(fractions), "relax_donors": relax_donors}
    return catalog.with_splits(split_of).with_making(**made)

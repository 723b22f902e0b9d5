"""Proof that no family, original, person, group or file is on two sides of a split."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from mrigan.catalog.clips import SPLITS, Catalog, Clip
from mrigan.catalog.splits import ties


@dataclass(frozen=True)
class Leak:
    """Something that is on more than one side.

    Attributes:
        kind: family, original, person, group or file.
        key: which one.
        clips: for each of its splits, in the order train, val, test, the ids of the clips there.
    """

    kind: str
    key: str
    clips: dict[str, list[str]]

    def __str__(self) -> str:
        sides = "; ".join(
            f"{split}: {ids[0]}" + (f" and {len(ids) - 1} more" if len(ids) > 1 else "")
            for split, ids in self.clips.items()
        )
        return f"{self.kind} {self.key} is in {sides}"


def audit(catalog: Catalog) -> list[Leak]:
    """Every leak of the catalog's splits; empty = clean. Clips without a split are on no side."""
    holders: dict[tuple[str, str], dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
    for clip in catalog.clips:
        if clip.split:
            for tie in dict.fromkeys(ties(clip)):
                holders[tie][clip.split].append(clip)
    return [
        Leak(kind, key, {s: [clip.id for clip in sides[s]] for s in SPLITS if s in sides})
        for (kind, key), sides in sorted(holders.items())
        if len(sides) > 1
    ]

"""Stored fakes, and the faces of their originals that stand beside them in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mrigan.data.hashing import Ids
from mrigan.data.reader import ShardSet
from mrigan.shardset.layout import Layout
from mrigan.shardset.rows import select_rows

_PLACE = ("family", "person", "frame")


@dataclass(frozen=True)
class StoredPairs:
    """Fakes beside faces of their originals.

    Args:
        fakes, originals: (N,) int64, ids in the `ShardSet`.
        other_frame: how many of them are beside another frame than their own.
        left_out: the number of fakes without a stored face of the same person in their original.
    """

    fakes: Ids
    originals: Ids
    other_frame: int
    left_out: int

    def __str__(self) -> str:
        other = f", {self.other_frame} of them of another frame" if self.other_frame else ""
        lost = f"; {self.left_out} are left out, whose originals have no such face" if self.left_out else ""
        return f"{len(self.fakes)} stored fakes beside their original's face of the same person{other}{lost}"


def stored_pairs(shards: ShardSet) -> StoredPairs:
    """Pair each stored fake with the face of the same person and frame in its original.

    If that face is not stored (a fake may begin some frames late), the nearest frame is taken: what a pair must share
    is the person, the clip and its compression, because they could tell real from fake. Without any face of the person
    in the original, these could, and the fake is left out.
    """
    family, person, frame = _places(shards)
    if not len(family):
        nothing = np.empty(0, np.int64)
        return StoredPairs(nothing, nothing, 0, 0)
    who = family * (person.max() + 1) + person
    reals, fakes = np.flatnonzero(shards.labels == 0), np.flatnonzero(shards.labels == 1)
    by_place = reals[np.lexsort((frame[reals], who[reals]))]
    span = frame.max() + 1
    places, sought = who[by_place] * span + frame[by_place], who[fakes] * span + frame[fakes]
    if not len(by_place):
        return StoredPairs(fakes[:0], reals, 0, len(fakes))
    after = np.searchsorted(places, sought)
    before, after = by_place[np.maximum(after - 1, 0)], by_place[np.minimum(after, len(by_place) - 1)]
    original = np.where(_distance(after, fakes, who, frame) <= _distance(before, fakes, who, frame), after, before)
    distance = _distance(original, fakes, who, frame)
    found = distance < span
    return StoredPairs(fakes[found], original[found], int((distance[found] > 0).sum()), int((~found).sum()))


def _distance(reals: Ids, fakes: Ids, who: Ids, frame: Ids) -> Ids:
    """Frames between each real face and the fake beside it; more than any clip has, if it is of somebody else."""
    return np.where(who[reals] == who[fakes], np.abs(frame[reals] - frame[fakes]), frame.max() + 1)


def _places(shards: ShardSet) -> tuple[Ids, Ids, Ids]:
    """The number of its family, the person and the frame of each sample, (N,) int64 each."""
    rows = pa.concat_tables(
        select_rows(Layout(folder).samples, ["key", *_PLACE], splits=[shards.split], stored=True)
        for folder in shards.folders
    )
    keys = np.asarray(rows["key"].to_pylist(), np.bytes_)
    order = np.argsort(keys)
    at = order[np.searchsorted(keys, shards.keys, sorter=order)]
    family = rows["family"].combine_chunks().dictionary_encode().indices
    columns: list[npt.NDArray[np.int64]] = [
        np.asarray(c).astype(np.int64) for c in (family, rows["person"], rows["frame"])
    ]
    return columns[0][at], columns[1][at], columns[2][at]

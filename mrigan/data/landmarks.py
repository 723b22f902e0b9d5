"""The landmarks of a set's faces: those in the samples' json, or those that `mrigan shards landmarks` found later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrigan.data.reader import ShardSet
from mrigan.errors import ShardError
from mrigan.foreign_files import parse_json
from mrigan.shardset.folder import ShardFolder
from mrigan.shardset.landmarks import NO_FACE, SOURCES, read_landmarks
from mrigan.shardset.layout import Layout

MAX_PLACE = 1e6  # px, of what a json says of a frame


@dataclass(frozen=True)
class Landmarks:
    """The landmarks of the N samples of a set, in native px of each clip's own frame.

    Attributes:
        points: (N, P, 2) float32; NaN where a sample has none.
        frame_sizes: (N, 2) float64, (w, h) of the frames in px.
        absent: why samples have none → their number.
    """

    points: NDArray[np.float32]
    frame_sizes: NDArray[np.float64]
    absent: Counter[str]


def stored_landmarks(shards: ShardSet, source: str = "mesh", chosen: Sequence[int] | None = None) -> Landmarks:
    """Read the landmarks of every sample.

    Args:
        source: a name in `SOURCES`.
        chosen: indices of the points that are kept; None = all.

    Raises:
        ShardError: no sample has any, a table of landmarks cannot be used, or a sample is damaged.
    """
    keep = np.arange(SOURCES[source]) if chosen is None else np.asarray(chosen)
    points = np.full((len(shards), len(keep), 2), np.nan, np.float32)
    sizes = np.zeros((len(shards), 2))
    absent: Counter[str] = Counter()
    later = _found_later(shards, source)
    for i in range(len(shards)):
        place, sizes[i] = _of_json(shards, i)
        why = "not looked for"
        if source != "mesh" or place is None:
            found = later.get(shards.key(i))
            place, why = (found.points, found.reason) if found else (None, why)
        if place is None:
            absent[why] += 1
        elif place.shape != (SOURCES[source], 2) or not (np.abs(place) <= MAX_PLACE).all():
            raise shards.damaged(i, "json", f"says landmarks that are not {SOURCES[source]} places in a frame")
        else:
            points[i] = place[keep]
    if absent.total() == len(shards):
        raise ShardError(
            f"none of the {len(shards)} samples of split {shards.split!r} has landmarks ({source}): "
            + ", ".join(f"{count} {why}" for why, count in absent.items()),
            where=", ".join(map(str, shards.folders)),
            fix=f"mrigan shards landmarks {shards.folders[0]}{'' if source == 'mesh' else f' --source {source}'}"
            if set(absent) != {NO_FACE}
            else "other faces",
        )
    return Landmarks(points, sizes, absent)


def _found_later(shards: ShardSet, source: str) -> dict:
    found = {}
    for folder in shards.folders:
        pattern = Layout(folder).unit_landmarks(source, f"{shards.split}-*")
        paths = sorted(pattern.parent.glob(pattern.name))
        plan_hash = ShardFolder.open(folder).manifest.plan_hash if paths else ""
        for path in paths:
            found.update(read_landmarks(path, plan_hash))
    return found


def _of_json(shards: ShardSet, i: int) -> tuple[NDArray[np.float32] | None, tuple[float, float]]:
    """The landmarks in a sample's json, and the size of its frame."""
    try:
        about = parse_json(shards.json(i))
        (w, h), points = about["frame_size"], about.get("landmarks")
        if not (0 < w <= MAX_PLACE and 0 < h <= MAX_PLACE):
            raise ValueError
        return None if points is None else np.array(points, np.float32), (w, h)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise shards.damaged(i, "json", "does not say what a sample's must: frame_size, landmarks") from None

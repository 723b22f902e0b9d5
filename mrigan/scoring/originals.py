"""The real face under a fake one, found again in the shards: the row of originals in MRI-GAN's Figure 10."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mrigan.data import ShardSet

MAX_LAG = 5  # frames between a fake's face and its original's: half of what lies between two sampled frames
MIN_OVERLAP = 0.5  # intersection over union of the two boxes, where both frames have one size


def find_originals(shards: ShardSet, ids: Sequence[int]) -> list[int | None]:
    """The id of the real sample that each sample was made of; itself where it is real, None where it is not there.

    A fake's json names its original clip, its frame and its box. The original's face is that of the same person in that
    clip, in the same frame or (where the fake runs a few frames early or late) the nearest one, at the same place.
    """
    samples = [json.loads(bytes(shards.read(int(i))[2])) for i in ids]
    clips = pa.array({about["original"] for about in samples if about.get("original")}, pa.string())
    rows = shards.rows.select(["clip", "label", "frame", "person"])
    rows = rows.append_column("id", pa.array(np.arange(len(rows))))
    rows = rows.filter(pc.and_(pc.equal(rows["label"], "real"), pc.is_in(rows["clip"], clips)))
    faces: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for row in rows.to_pylist():
        faces.setdefault((row["clip"], row["person"]), []).append((row["frame"], row["id"]))
    return [
        int(i) if about.get("label") == "real" else _original(shards, about, faces)
        for i, about in zip(ids, samples, strict=True)
    ]


def _original(
    shards: ShardSet, about: dict[str, Any], faces: dict[tuple[str, int], list[tuple[int, int]]]
) -> int | None:
    if not {"original", "person", "frame", "frame_size", "box"} <= about.keys():
        return None  # of shards that other software wrote
    found = faces.get((about["original"] or "", about["person"]), [])
    frame, i = min(found, key=lambda face: abs(face[0] - about["frame"]), default=(0, None))
    if i is None or abs(frame - about["frame"]) > MAX_LAG:
        return None
    other = json.loads(bytes(shards.read(i)[2]))
    if other["frame_size"] == about["frame_size"] and _overlap(other["box"], about["box"]) < MIN_OVERLAP:
        return None
    return i


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return both / (areas - both) if both else 0.0

"""Counts of a set's rows by data set, method, compression, split and label."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mrigan.catalog import LABELS
from mrigan.shardset.rows import DROPPED, FAILED, STORED, stored_of

KEYS = ("dataset", "method", "compression", "split", "label")
SIZES = ("face_size", "mri_size", "json_size")
COLUMNS = (*KEYS, "clip", "family", "status", "reason", "width", "height", "face_px", "mri_mean", *SIZES)
MRI_BINS = 256  # of the mean of an MRI, 0...255
Key = tuple[str, str, str, str, str]


@dataclass
class Group:
    """The clips of one data set, method, compression, split and label: a line of the table.

    Attributes:
        families, clips: with any row. faces: stored. bytes: of their members, without the tar's headers.
        unproven: stored fake faces where nothing moves, so that no frame proves to be of the original's moment.
        dropped, failed: rows by reason, without details.
        per_clip: stored faces of a clip → clips. frames: (w, h) in px → faces.
        mri: floor of the mean MRI → faces (fakes of `pairs` only). widths: px of a face's box → faces.
    """

    dataset: str
    method: str
    compression: str
    split: str
    label: str
    families: int = 0
    clips: int = 0
    faces: int = 0
    unproven: int = 0
    bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    per_clip: Counter[int] = field(default_factory=Counter)
    frames: Counter[tuple[int, int]] = field(default_factory=Counter)
    mri: Counter[int] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """The name of the source, for a person."""
        return " ".join(part for part in (self.dataset, self.method, self.compression) if part)

    def as_dict(self) -> dict[str, Any]:
        """For a program, as JSON."""
        return {
            **{key: getattr(self, key) for key in (*KEYS, "families", "clips", "faces", "unproven", "bytes")},
            "dropped": dict(self.dropped), "failed": dict(self.failed), "faces_per_clip": summary(self.per_clip),
            "frame_sizes": {f"{w}x{h}": n for (w, h), n in self.frames.most_common()},
            "face_px": summary(self.widths),
            "mri_mean": summary(self.mri) | {"histogram": [self.mri[i] for i in range(MRI_BINS)]} if self.mri else None,
        }  # fmt: skip


def count_groups(tables: Iterable[pa.Table]) -> tuple[list[Group], dict[str, int]]:
    """The groups of the rows, sorted by key, and the number of families by label.

    Args:
        tables: with `COLUMNS`; read one by one.
    """
    groups: dict[Key, Group] = {}
    clips: dict[Key, Counter[str]] = defaultdict(Counter)  # faces by clip
    families: dict[Key, set[str]] = defaultdict(set)
    for table in tables:
        counted = table.append_column("bytes", _bytes(table))
        for row in _grouped(counted, ["clip", "family", "status", "reason"], [("bytes", "sum")]):
            key = _key(row)
            group = groups.setdefault(key, Group(*key))
            stored = row["count_all"] if row["status"] == STORED else 0
            group.faces += stored
            group.unproven += stored if row["reason"].startswith("alignment:") else 0
            group.bytes += row["bytes_sum"]
            clips[key][row["clip"]] += stored
            families[key].add(row["family"])
            if row["status"] in (DROPPED, FAILED):
                getattr(group, row["status"])[row["reason"].split(":")[0]] += row["count_all"]
        stored_rows = stored_of(table)
        for row in _grouped(stored_rows, ["width", "height"]):
            groups[_key(row)].frames[row["width"], row["height"]] += row["count_all"]
        _histogram(groups, stored_rows, "face_px", "widths")
        fakes = stored_rows.filter(
            pc.and_(pc.equal(stored_rows["label"], "fake"), pc.is_finite(stored_rows["mri_mean"]))
        )
        _histogram(groups, fakes, "mri_mean", "mri")
    for key, group in groups.items():
        group.clips, group.families = len(clips[key]), len(families[key])
        group.per_clip = Counter(clips[key].values())
    by_label = {label: set().union(*(names for key, names in families.items() if key[-1] == label)) for label in LABELS}
    return [groups[key] for key in sorted(groups)], {label: len(names) for label, names in by_label.items()}


def _bytes(table: pa.Table) -> pa.ChunkedArray:
    """Bytes of each row's members, 0 if nothing is stored."""
    parts = [pc.max_element_wise(table[name], pa.scalar(0, pa.int64())) for name in SIZES]
    return pc.add(pc.add(parts[0], parts[1]), parts[2])


def _histogram(groups: dict[Key, Group], table: pa.Table, column: str, into: str) -> None:
    binned = table.append_column("bin", pc.cast(pc.floor(table[column]), pa.int32()))
    for row in _grouped(binned, ["bin"]):
        getattr(groups[_key(row)], into)[row["bin"]] += row["count_all"]


def _grouped(table: pa.Table, by: list[str], more: Sequence[tuple[str, str]] = ()) -> list[dict[str, Any]]:
    grouped = table.group_by([*KEYS, *by], use_threads=False).aggregate([([], "count_all"), *more])
    return list(grouped.to_pylist())


def _key(row: dict[str, Any]) -> Key:
    return row["dataset"], row["method"], row["compression"], row["split"], row["label"]


def summary(counts: Counter[int]) -> dict[str, float]:
    """Mean and quantiles of values, given how often each occurs; {} without values."""
    if not counts:
        return {}
    total, ordered = counts.total(), sorted(counts.items())
    mean = sum(value * count for value, count in ordered) / total
    quantiles = {name: _quantile(ordered, total * part) for name, part in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9))}
    return {"min": ordered[0][0], **quantiles, "max": ordered[-1][0], "mean": round(mean, 3)}


def _quantile(ordered: Sequence[tuple[int, int]], rank: float) -> int:
    seen = 0
    for value, count in ordered:
        seen += count
        if seen >= rank:
            return value
    return ordered[-1][0]

"""`mrigan shards stats`: what a set holds, by data set, method, compression, split and label; and what would give the
label away without a look at the face (MRI-GAN, section 3, takes its reals from other sources than its fakes).

The table of rows is read row group by row group: a set of millions of samples takes a few hundred MiB.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mrigan.catalog import LABELS
from mrigan.config import PackConfig
from mrigan.errors import ShardError
from mrigan.packing.shortcuts import accuracies, warnings_of
from mrigan.shardset.manifest import check_samples
from mrigan.shardset.marker import check_rows
from mrigan.shardset.matching import matched
from mrigan.shardset.plan_file import Plan, load_plan, unit_names
from mrigan.shardset.reading import SetReader, open_set
from mrigan.shardset.rows import DROPPED, FAILED, STORED, read_rows, stored_of, stream_rows

KEYS = ("dataset", "method", "compression", "split", "label")
SIZES = ("face_size", "mri_size", "json_size")
COLUMNS = (*KEYS, "clip", "family", "status", "reason", "width", "height", "face_px", "mri_mean", *SIZES)
MRI_BINS = 256  # of the mean of an MRI, 0...255
Key = tuple[str, str, str, str, str]


@dataclass
class Group:
    """One line: the clips of one data set, method, compression, split and label.

    Attributes:
        families, clips: with any row. faces: stored. bytes: of their members, without the tar's headers.
        unproven: stored faces of fakes in which nothing moves that would show another moment than the original's.
        dropped, failed: rows by reason, without its details.
        per_clip: stored faces a clip → clips. frames: (w, h) in px → faces.
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
        """Of the source, for a person."""
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


@dataclass(frozen=True)
class Stats:
    """What `shard_stats` counted.

    Attributes:
        groups: in the order of their keys; faces that `pack.match` leaves out are among the dropped, as `unmatched`.
        warnings: what would give the label away, or what is missing.
        families: with clips of a label, which may have several methods.
        built, units: units counted, and units of the plan.
        matching: split → before, after → label → faces, and fact → balanced accuracy; {} without `pack.match`.
    """

    folder: str
    plan: Plan
    groups: list[Group]
    families: dict[str, int]
    warnings: list[str]
    built: int
    units: int
    matching: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For a program, as JSON."""
        config = self.plan.config
        return {
            "schema_version": 1, "folder": self.folder, "plan_hash": self.plan.hash, "kind": config.pack.kind,
            "metric": config.mri.metric if config.pack.kind == "pairs" else None, "units": self.units,
            "built": self.built, "families": self.families, "groups": [group.as_dict() for group in self.groups],
            "warnings": self.warnings, "match": config.pack.match, "matching": self.matching,
        }  # fmt: skip


def shard_stats(out: str | Path, scratch: str | Path = "") -> Stats:
    """Count what a set in a folder or at a URL holds; of an unfinished one, its finished units.

    Args:
        scratch: folder of this machine for the tables of a set at a URL, "" = the system's.

    Raises:
        ShardError: there is no plan, or nothing is built yet.
    """
    with open_set(out, scratch) as reader:
        folder = reader.layout.root
        plan, names = load_plan(folder, only=()), unit_names(folder)
        done = [name for name in names if reader.built(name)]
        if not done:
            raise ShardError("nothing is built yet", where=out, fix=f"mrigan shards build {out}")
        groups, families = _count(_tables(plan, reader, done))
        matching: dict[str, Any] = {}
        if plan.config.pack.match:
            before = groups
            tables = list(_tables(plan, reader, done, (*COLUMNS, "key")))
            groups, families = _count(matched_rows(tables, plan.config.pack))
            matching = compared(before, groups)
    return Stats(reader.where, plan, groups, families, warnings_of(groups), len(done), len(names), matching)


def matched_rows(tables: Sequence[pa.Table], pack: PackConfig) -> Iterator[pa.Table]:
    """The rows, with the stored samples that `pack.match` leaves out as dropped: `unmatched`."""
    whole = pa.concat_tables(stored_of(table) for table in tables)
    out = whole["key"].filter(pa.array(~matched(whole, pack.match, pack.seed))).combine_chunks()
    for table in tables:
        lost, told = pc.and_(pc.equal(table["status"], STORED), pc.is_in(table["key"], out)), table
        for name, word in (("status", DROPPED), ("reason", "unmatched")):
            column = pc.if_else(lost, pa.scalar(word), table[name])
            told = told.set_column(told.schema.get_field_index(name), name, column)
        yield told


def compared(before: Sequence[Group], after: Sequence[Group]) -> dict[str, Any]:
    """See `Stats.matching`."""
    return {
        split: {
            when: {label: sum(g.faces for g in groups if (g.split, g.label) == (split, label)) for label in LABELS}
            | {"telling": accuracies(groups).get(split, {})}
            for when, groups in (("before", before), ("after", after))
        }
        for split in dict.fromkeys(group.split for group in before)
    }


def summary(counts: Counter[int]) -> dict[str, float]:
    """Mean and quantiles of values, each with how often it occurs."""
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


def _tables(
    plan: Plan, reader: SetReader, units: Sequence[str], columns: Sequence[str] = COLUMNS
) -> Iterator[pa.Table]:
    reader.bring_whole()
    layout = reader.layout
    if layout.manifest.is_file() and layout.samples.is_file():
        check_samples(layout)
        yield from stream_rows(layout.samples, columns)
    else:
        for name in units:
            reader.bring_unit(name)
            check_rows(plan, name)
            yield read_rows(layout.unit_rows(name)).select(list(columns))


def _count(tables: Iterable[pa.Table]) -> tuple[list[Group], dict[str, int]]:
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
    """Bytes of each sample's members, 0 where nothing is stored."""
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

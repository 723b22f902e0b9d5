"""`mrigan shards stats`: what a set holds by data set, method, compression, split and label.

The table of rows is read row group by row group: a set of millions of samples takes a few hundred MiB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mrigan.catalog import LABELS
from mrigan.config import PackConfig
from mrigan.errors import ShardError
from mrigan.packing.groups import COLUMNS, Group, count_groups
from mrigan.packing.shortcuts import accuracies, warnings_of
from mrigan.shardset.manifest import check_samples
from mrigan.shardset.marker import check_rows
from mrigan.shardset.matching import matched
from mrigan.shardset.plan_file import Plan, load_plan, unit_names
from mrigan.shardset.reading import SetReader, open_set
from mrigan.shardset.rows import DROPPED, STORED, read_rows, stored_of, stream_rows


@dataclass(frozen=True)
class Stats:
    """The result of `shard_stats`.

    Attributes:
        groups: sorted by key; faces that `pack.match` leaves out are counted as dropped, with the reason `unmatched`.
        warnings: what gives the label away, or is missing; see `mrigan.packing.shortcuts`.
        families: label → families with clips of that label.
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
    """Count what a set in a folder or at a URL holds; of an unfinished set, the finished units.

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
        groups, families = count_groups(_tables(plan, reader, done))
        matching: dict[str, Any] = {}
        if plan.config.pack.match:
            before = groups
            tables = list(_tables(plan, reader, done, (*COLUMNS, "key")))
            groups, families = count_groups(matched_rows(tables, plan.config.pack))
            matching = compared(before, groups)
    return Stats(reader.where, plan, groups, families, warnings_of(groups), len(done), len(names), matching)


def matched_rows(tables: Sequence[pa.Table], pack: PackConfig) -> Iterator[pa.Table]:
    """The rows, in which stored samples that `pack.match` leaves out are dropped for the reason `unmatched`."""
    whole = pa.concat_tables(stored_of(table) for table in tables)
    out = whole["key"].filter(pa.array(~matched(whole, pack.match, pack.seed))).combine_chunks()
    for table in tables:
        lost, changed = pc.and_(pc.equal(table["status"], STORED), pc.is_in(table["key"], out)), table
        for name, word in (("status", DROPPED), ("reason", "unmatched")):
            column = pc.if_else(lost, pa.scalar(word), table[name])
            changed = changed.set_column(changed.schema.get_field_index(name), name, column)
        yield changed


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

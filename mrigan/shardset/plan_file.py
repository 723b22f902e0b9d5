"""The files of a plan: plan.json with the settings and the names of the units, plan.parquet with their clips.

plan.parquet has one row group for each unit, so that one unit can be read alone.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mrigan.catalog import Clip, Family
from mrigan.catalog.store import LISTS
from mrigan.catalog.store import SCHEMA as CLIP_SCHEMA
from mrigan.checked_json import write_checked_json
from mrigan.config import ShardsConfig, from_dict, to_dict
from mrigan.errors import ConfigError, ShardError
from mrigan.files import atomic_write, sha256_file
from mrigan.regular import read_regular, reason
from mrigan.shardset.decides import check_decides
from mrigan.shardset.layout import FORMAT, Layout, parse_json

SCHEMA = pa.schema([("unit", pa.string()), *CLIP_SCHEMA])
CLIP_FIELDS = tuple(field.name for field in fields(Clip))
SAME_AGAIN = "the same plan again, with the same catalog and settings, mends it: mrigan shards plan CATALOG -o DIR"
UNITS_AT_ONCE = 256  # read from plan.parquet
OR_ANEW = f"{SAME_AGAIN}. A set of format 2 or 3: plan into a new folder, with pack.faces_dir=DIR/faces"


@dataclass(frozen=True)
class Unit:
    """Families of one split that are built together, and become one or more shards of each label.

    Attributes:
        number: counted from 0 in each split, without gaps.
    """

    name: str
    split: str
    number: int
    families: tuple[Family, ...]

    @property
    def clips(self) -> int:
        return sum(len(family.clips) for family in self.families)


@dataclass(frozen=True)
class Plan:
    """The result of `mrigan shards plan`.

    Attributes:
        folder: the shard folder.
        hash: SHA-256 of everything that determines the bytes; see `mrigan.shardset.decides`.
        roots: data set → folder that its clips' paths are relative to.
        units: all, or those that `load_plan` was asked for.
        libraries: versions of what makes pixels (OpenCV, FFmpeg, torch ...) on the machine that planned.
        format: of the set; see `mrigan.shardset.layout`.
    """

    folder: Path
    config: ShardsConfig
    hash: str
    roots: dict[str, Path]
    units: tuple[Unit, ...]
    libraries: dict[str, str]
    format: int = FORMAT

    @property
    def layout(self) -> Layout:
        return Layout(self.folder)

    @property
    def faces(self) -> Path:
        """The folder of the detections; several sets may share one (`pack.faces_dir`)."""
        return Path(self.config.pack.faces_dir) if self.config.pack.faces_dir else self.layout.faces

    def path(self, clip: Clip) -> Path:
        """The file of a clip."""
        return self.roots[clip.dataset] / clip.path

    def lines(self) -> list[str]:
        """For a person."""
        lines = []
        for split in dict.fromkeys(unit.split for unit in self.units):
            units = [unit for unit in self.units if unit.split == split]
            families = [family for unit in units for family in unit.families]
            clips, references = sum(len(f.own) for f in families), sum(f.reference is not None for f in families)
            lines.append(f"{split}: {clips} clips of {len(families)} families in {len(units)} units")
            if references:
                lines.append(f"{references} originals of other splits: fakes are compared with them; none is stored")
        lines += [f"{dataset} in {root}" for dataset, root in self.roots.items()]
        return [*lines, f"plan {self.hash[:12]}, kind {self.config.pack.kind}"]


def write_plan(plan: Plan, decides: dict[str, Any], catalog: str) -> None:
    """Write plan.parquet, then plan.json. `decides`: what the plan's hash is of. `catalog`: its file."""
    layout, clips = plan.layout, [(unit, clip) for unit in plan.units for f in unit.families for clip in f.clips]
    columns: dict[str, list[Any]] = {"unit": [unit.name for unit, _ in clips], "clip": [clip.id for _, clip in clips]}
    columns |= {name: [getattr(clip, name) for _, clip in clips] for name in CLIP_FIELDS}
    table, start = pa.table(columns, schema=SCHEMA), 0
    with atomic_write(layout.clips) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for unit in plan.units:
            writer.write_table(table.slice(start, unit.clips))
            start += unit.clips
    write_checked_json(layout.plan, {
        "plan_hash": plan.hash, "format": plan.format, "kind": plan.config.pack.kind,
        "mri": {"format": plan.config.pack.mri_format, "metric": plan.config.mri.metric}
        if plan.config.pack.kind == "pairs" else None,
        "roots": {dataset: str(root) for dataset, root in plan.roots.items()},
        "catalog": {"path": catalog, "hash": decides["catalog"]},
        "config": to_dict(plan.config), "decides": decides, "libraries": plan.libraries,
        "clips_sha256": sha256_file(layout.clips),
        "units": units_of(plan.units),
    })  # fmt: skip


def clips_of(units: Iterable[Unit]) -> Iterator[Clip]:
    """The clips of units, in the order of the plan."""
    return (clip for unit in units for family in unit.families for clip in family.clips)


def units_of(units: Sequence[Unit]) -> list[dict[str, Any]]:
    """What plan.json says of units."""
    return [{"name": unit.name, "split": unit.split, "families": len(unit.families), "clips": unit.clips}
            for unit in units]  # fmt: skip


def load_plan(folder: str | Path, only: Collection[str] | None = None) -> Plan:
    """Read the plan in a shard folder.

    Args:
        only: names of the units to read; None = all. A few units are read in milliseconds, however large the plan is.

    Raises:
        ShardError: there is no plan, it is damaged, or it has no such unit.
    """
    layout = Layout(Path(folder))
    data = read_plan_json(layout)
    try:
        if sha256_file(layout.clips) != data["clips_sha256"]:
            raise ShardError(
                "plan.parquet is not the file that plan.json was written with",
                where=layout.clips,
                fix=SAME_AGAIN,
            )
        places = {unit["name"]: i for i, unit in enumerate(data["units"])}
        unknown = sorted(set(only or ()) - places.keys())
        if unknown:
            raise ShardError(f"the plan has no unit {unknown[0]}", where=layout.plan, fix="the names are in plan.json")
        config = from_dict(ShardsConfig, data["config"])
        chosen = range(len(places)) if only is None else sorted(places[name] for name in only)
        units = tuple(_read_units(layout, data["units"], chosen))
        roots = {dataset: Path(root) for dataset, root in data["roots"].items()}
        return Plan(layout.root, config, data["plan_hash"], roots, units, dict(data["libraries"]), data["format"])
    except (KeyError, TypeError, AttributeError, ValueError, OSError, pa.ArrowException, ConfigError) as error:
        where = layout.clips if isinstance(error, OSError | pa.ArrowException) else layout.plan
        raise ShardError(f"the plan cannot be read: {reason(error)}", where=where, fix=OR_ANEW) from None


def stream_units(folder: str | Path) -> Iterator[Unit]:
    """All units of the plan in a shard folder, one by one: a plan of any size takes the memory of a unit.

    Raises:
        ShardError: plan.json says something else of a unit than plan.parquet.
    """
    layout = Layout(Path(folder))
    units = read_plan_json(layout)["units"]
    return _read_units(layout, units, range(len(units)))


def unit_names(folder: str | Path) -> list[str]:
    """The names of all units of the plan in a shard folder, in its order, without reading their clips.

    Raises:
        ShardError: there is no plan, or it is damaged.
    """
    layout = Layout(Path(folder))
    try:
        return [str(unit["name"]) for unit in read_plan_json(layout)["units"]]
    except (KeyError, TypeError) as error:
        raise ShardError(f"the plan cannot be read: {error}", where=layout.plan, fix=OR_ANEW) from None


def read_plan_json(layout: Layout) -> dict[str, Any]:
    """The content of plan.json, checked for contradictions if it has a format.

    Raises:
        ShardError: there is no plan, or it is damaged.
    """
    if not os.path.lexists(layout.plan):
        raise ShardError("no shard plan there", where=layout.root, fix="make one: mrigan shards plan CATALOG -o DIR")
    try:
        return parse_plan(read_regular(layout.plan))
    except (OSError, ValueError) as error:
        raise ShardError(f"the plan is damaged: {reason(error)}", where=layout.plan, fix=OR_ANEW) from None


def parse_plan(text: bytes) -> dict[str, Any]:
    """As `read_plan_json`, from the bytes of the file.

    Raises:
        ValueError: it is damaged; the message says how.
    """
    data = parse_json(text)
    try:
        if "format" in data:
            check_decides(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a plan ({error!r})") from None
    return data


def _read_units(layout: Layout, listed: Sequence[dict[str, Any]], numbers: Sequence[int]) -> Iterator[Unit]:
    """Units from plan.parquet, which has a row group for each; `listed` is what plan.json says of all units."""
    with pq.ParquetFile(layout.clips) as file:
        if file.num_row_groups != len(listed):
            raise ShardError(
                f"plan.json names {len(listed)} units, plan.parquet holds {file.num_row_groups}",
                where=layout.plan,
                fix=SAME_AGAIN,
            )
        for start in range(0, len(numbers), UNITS_AT_ONCE):
            some = numbers[start : start + UNITS_AT_ONCE]
            units = list(_units(file.read_row_groups(some)))
            for unit, number in zip(units_of(units), some, strict=True):
                if unit != listed[number]:
                    what = f"plan.json says {listed[number]} of a unit, plan.parquet holds {unit}"
                    raise ShardError(what, where=layout.plan, fix=SAME_AGAIN)
            yield from units


def _units(table: pa.Table) -> Iterator[Unit]:
    values = [table[name].to_pylist() for name in CLIP_FIELDS]
    for i in map(CLIP_FIELDS.index, LISTS):
        values[i] = [tuple(names) for names in values[i]]
    clips = zip(table["unit"].to_pylist(), (Clip(*row) for row in zip(*values, strict=True)), strict=True)
    for name, members in groupby(clips, key=lambda pair: pair[0]):
        split, number = name.rsplit("-", 1)
        families = [_family(key, [clip for _, clip in group], split)
                    for (_, key), group in groupby(members, key=lambda pair: pair[1].pairs_with)]  # fmt: skip
        yield Unit(name, split, int(number), tuple(families))


def _family(key: str, clips: Sequence[Clip], split: str) -> Family:
    original = clips[0] if clips[0].id == key and clips[0].label == "real" else None
    return Family(key, original, list(clips[1:] if original else clips), split)

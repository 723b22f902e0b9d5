"""One worker builds one unit: shards of real and of fake faces with their MRIs, mostly one shard of each label.

The order of a shard is a seeded shuffle, so that a reader that goes from front to back sees its families mixed. Until
the unit is finished, encoded samples are kept in an unnamed temporary file. The plan only estimates the size of a unit;
if the samples exceed the limits of a shard, they are cut into shards of about equal length.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import cv2

from mrigan.catalog import LABELS, Family
from mrigan.checked_json import read_checked_json
from mrigan.errors import ShardError
from mrigan.files import sha256_file
from mrigan.packing.contents import fingerprints
from mrigan.packing.family import Sample, family_samples
from mrigan.packing.journal import BUILT, KEPT, UnitReport, node_name, write_report
from mrigan.packing.libraries import refuse_other_libraries
from mrigan.packing.plan import Plan, Unit
from mrigan.packing.tools import Stages, Tools
from mrigan.regular import read_regular
from mrigan.shardset.layout import Layout, shard_name
from mrigan.shardset.marker import Marker, read_marker
from mrigan.shardset.rows import FAILED, STORED, Row, row_of, write_rows
from mrigan.shardset.tar import Member, cut, sample_size, write_shard
from mrigan.threads import settle
from mrigan.time_limit import within
from mrigan.workers.file_clock import FileClock

FOLDER_TIMEOUT = 60.0  # seconds in which the folder of the videos must answer


@dataclass(frozen=True)
class Progress:
    """A worker's report before each family: its id, the families of the unit that are done, and their stored faces."""

    family: str
    done: int
    stored: int


@dataclass(frozen=True)
class UnitTask:
    """A unit to build.

    Attributes:
        skip: (family id, reason) of families that are not opened, because they killed every worker that tried.
        slow: (clip id, reason) of clips that are not opened, because they took too long.
    """

    unit: Unit
    skip: tuple[tuple[str, str], ...] = ()
    slow: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return self.unit.name


class UnitMaker:
    """A worker that builds units in the shard folder: one thread, the detector in memory.

    Raises:
        ShardError: this machine does not see the shard folder, or its libraries are not those of the plan.
    """

    def __init__(self, plan: Plan) -> None:
        use_one_thread()
        self.plan, self.tools = plan, Tools(plan)
        if not plan.layout.plan.is_file():
            raise ShardError(
                f"the shard folder is not on {node_name()}",
                where=plan.folder,
                fix="build in a folder that all machines share, or to a URL",
            )
        refuse_other_libraries(plan)

    def __call__(self, task: UnitTask, report: Callable[[Any], None]) -> UnitReport:
        if is_done(self.plan, task.unit):  # another builder built it meanwhile
            return UnitReport(task.name, KEPT)
        return build_unit(self.plan, task, self.tools, report)


def use_one_thread() -> None:
    """One of many workers: libraries start no threads of their own."""
    settle()  # a process that Ray has started has not done so
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def require_videos(plan: Plan) -> None:
    """Raise ShardError if all videos are gone: otherwise each clip would count as broken."""
    for dataset, root in plan.roots.items():
        try:
            if within(FOLDER_TIMEOUT, _holds_something, root):
                continue
            what = "is empty"  # what an unmounted folder looks like
        except TimeoutError:
            what = f"does not answer for {FOLDER_TIMEOUT:.0f} s"
        except OSError as error:
            what = f"is not there ({error.strerror})"
        raise ShardError(
            f"the folder of the videos of {dataset} {what}",
            where=f"{root} on {node_name()}",
            fix="mount it and start the build again; or scan and plan again where the videos are now",
        )


def _holds_something(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is not None


def is_done(plan: Plan, unit: Unit) -> bool:
    """Whether a unit's marker exists and is of this plan, and the unit's files exist in full length."""
    return is_whole(plan, unit.name, plan.layout, read_regular, lambda path: path.stat().st_size)


def is_whole(plan: Plan, unit: str, layout: Layout, read: Callable[[Path], bytes],
             size: Callable[[Path], int]) -> bool:  # fmt: skip
    """As `is_done`, for files of any layout.

    Args:
        read, size: content and bytes of a file of `layout`; OSError or KeyError if it does not exist.
    """
    try:
        marker = read_marker(read(layout.unit_marker(unit)), plan, unit)
        if size(layout.unit_rows(unit)) != marker.rows_bytes:
            return False
        for shard in marker.shards:
            beside = layout.index(shard["shard"]), layout.sidecar(shard["shard"])
            if size(layout.shard(shard["shard"])) != shard["bytes"] or not all(size(path) for path in beside):
                return False
    except (OSError, ValueError, KeyError):
        return False
    return True


def build_unit(plan: Plan, task: UnitTask, tools: Tools, report: Callable[[Any], None]) -> UnitReport:
    """Write a unit's shards, its rows, and last its marker. A second build gives the same bytes.

    Args:
        report: takes a `Progress` before each family, and the reports of a `FileClock`.

    Raises:
        ShardError: the videos were lost in the middle.
    """
    with FileClock(report) as clock:
        return _build(plan, task, tools, report, Stages(clock.at))


def _build(plan: Plan, task: UnitTask, tools: Tools, report: Callable[[Progress], None], stages: Stages) -> UnitReport:
    started, unit = time.monotonic(), task.unit
    skip, slow = dict(task.skip), dict(task.slow)
    layout, table = plan.layout, plan.layout.unit_rows(unit.name)
    layout.units.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    with _Spill(layout.root) as spill:
        for done, family in enumerate(unit.families):
            if family.id in skip:
                rows += [row_of(clip, FAILED, f"deadly: {skip[family.id]}") for clip in family.own]
                continue
            report(Progress(family.id, done, len(spill.places)))
            rows += [row_of(clip, FAILED, f"unreadable: {slow[clip.id]}") for clip in family.clips if clip.id in slow]
            rest = _without(family, slow)
            items = family_samples(rest, tools, stages) if rest.clips else []
            for item in items:
                if isinstance(item, Sample):
                    with stages("write"):
                        spill.add(item)
                    rows.append(item.row)
                else:
                    rows.append(item)
            if any(isinstance(item, Row) and item.status == FAILED for item in items):
                require_videos(plan)
        with stages("write"):
            spill.file.flush()
            shards = [shard for label in LABELS if spill.samples[label]
                      for shard in _write_label(plan, unit, label, spill)]  # fmt: skip
            write_rows(table, rows)
    inputs = fingerprints(plan, unit, stages.at, slow)
    if None in inputs.values():  # a clip is gone: by itself, or with all others after the last one was read
        require_videos(plan)
    counts = Counter(row.label if row.status == STORED else row.status for row in rows)
    done_report = UnitReport(unit.name, BUILT, dict(counts), dict(stages.seconds), time.monotonic() - started)
    write_report(layout, done_report)
    Marker(
        unit.name, plan.hash, len(rows), dict(sorted(counts.items())), table.stat().st_size, sha256_file(table),
        shards, inputs, plan.libraries,
    ).write(plan)  # fmt: skip
    return done_report


def _without(family: Family, clips: Container[str]) -> Family:
    """The family without these clips (ids)."""
    if not any(clip.id in clips for clip in family.clips):
        return family
    original = family.original if family.original is not None and family.original.id not in clips else None
    return replace(family, original=original, fakes=[fake for fake in family.fakes if fake.id not in clips])


def _write_label(plan: Plan, unit: Unit, label: str, spill: _Spill) -> list[dict[str, Any]]:
    """Write the shards of one label, and the places of the samples into their rows. Returns what the sidecars say."""
    pack, rows = plan.config.pack, {row.key: row for row in spill.samples[label]}
    order = sorted(rows, key=lambda key: hashlib.sha256(f"{pack.seed} {key}".encode()).digest())
    sizes = [sample_size(size for _, _, size in spill.places[key]) for key in order]
    facts = {"plan_hash": plan.hash, "unit": unit.name, "split": unit.split, "label": label, "kind": pack.kind}
    written = []
    for part, places in enumerate(cut(sizes, pack.shard_samples, pack.shard_mib * 2**20)):
        path = plan.layout.shard(shard_name(unit.split, label, unit.number, part))
        for placed in write_shard(path, ((order[i], spill.read(order[i])) for i in places), facts):
            row = rows[placed.key]
            row.shard, row.crc32 = path.name, placed.crc32
            for extension, offset, size in placed.members:
                member = extension.split(".")[0]
                setattr(row, f"{member}_offset", offset)
                setattr(row, f"{member}_size", size)
        written.append(read_checked_json(path.with_suffix(".json"))[0])
    return written


@dataclass
class _Spill:
    """Encoded samples in a file without a name, of which nothing is left however the process ends."""

    folder: Path
    samples: dict[str, list[Row]] = field(default_factory=lambda: {label: [] for label in LABELS})
    places: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)

    def __enter__(self) -> _Spill:
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=self.folder)
        self.length = 0
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(self, sample: Sample) -> None:
        places = []
        for extension, data in sample.members:
            places.append((extension, self.length, len(data)))
            self.file.write(data)
            self.length += len(data)
        self.places[sample.row.key] = places
        self.samples[sample.row.label].append(sample.row)

    def read(self, key: str) -> list[Member]:
        return [(extension, os.pread(self.file.fileno(), size, offset)) for extension, offset, size in self.places[key]]

"""`mrigan shards repair`: rebuild units that are damaged, or whose clips could not be read; nothing else.

A rebuilt unit is what a fresh build would write, byte for byte. A unit that would become smaller, because clips of it
are missing now, is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from mrigan.errors import ShardError
from mrigan.files import try_output
from mrigan.packing.dispatch import WorkerPool, make_units
from mrigan.packing.libraries import refuse_older_format, refuse_other_libraries
from mrigan.packing.open_store import open_store
from mrigan.packing.record import ABSENT, absent_now, read_inputs, refuse_changed_inputs
from mrigan.packing.store import ShardStore
from mrigan.packing.unit import require_videos
from mrigan.packing.verify import Check, check_shards, is_face_table
from mrigan.shardset.marker import check_rows, made_of
from mrigan.shardset.plan_file import Plan, Unit
from mrigan.shardset.rows import FAILED, read_rows
from mrigan.text import counted, first_of

MAX_LISTED = 20  # clips for a person

Failures = dict[str, str]  # clip id → why it could not be read


@dataclass(frozen=True)
class Repair:
    """What `repair_shards` did.

    Attributes:
        check: of the set before the repair.
        rebuilt: unit → why it was rebuilt. left: damaged unit → why it was not rebuilt.
        read: clips that had failed and are read now. failing: clip of these units that still fails → why.
        unbuilt: units that no build has made yet; building them is not repair's work.
        merged: the manifest and the table of all rows were written again.
        mended: other file of the set → what was done.
    """

    check: Check
    rebuilt: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    failing: Failures = field(default_factory=dict)
    unbuilt: list[str] = field(default_factory=list)
    merged: bool = False
    mended: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing damaged is left."""
        return not self.left

    def as_dict(self) -> dict[str, Any]:
        """For a program, as JSON."""
        names = ("rebuilt", "left", "read", "failing", "unbuilt", "merged", "mended")
        return {"schema_version": 1, "ok": self.ok, "folder": self.check.folder, "units": self.check.units,
                **{name: getattr(self, name) for name in names}}  # fmt: skip

    def lines(self) -> list[str]:
        """For a person."""
        lines = [f"rebuilt {unit}: {why}" for unit, why in self.rebuilt.items()]
        lines += [f"mended {file}: {how}" for file, how in self.mended.items()]
        lines += [f"left {unit}: {why}" for unit, why in self.left.items()]
        lines += _listed("read now", self.read)
        lines += _listed("fails again", [f"{clip}: {why}" for clip, why in self.failing.items()])
        if self.unbuilt:
            lines.append(f"{len(self.unbuilt)} units are not built yet: mrigan shards build {self.check.folder}")
        did = f"{len(self.rebuilt)} of {self.check.units} units rebuilt" if self.rebuilt else "nothing to rebuild"
        merged = ", manifest and samples.parquet written again" if self.merged else ""
        return [*lines, f"{self.check.folder}: {did}{merged}"]


def repair_shards(
    out: str | Path, *, only_failed: bool = False, full: bool = True, workers: int = 0, scratch: str | Path = "",
    seconds_per_file: float | None = None,
) -> Repair:  # fmt: skip
    """Rebuild the units that have damaged or missing files, and those with clips that could not be read.

    Args:
        only_failed: leave units alone that no build has made yet; otherwise they are built, too.
        full: see `check_shards`.
        workers: processes, and threads of the check; 0 = one for each CPU core.
        scratch: folder of this machine for copies of files at a URL, "" = the system's.
        seconds_per_file: see `WorkerPool`.

    Raises:
        ShardError: there is no plan, the folder of the videos is missing, this machine has other libraries than the
            plan, or a unit could not be built.
        Stopped: by a signal; the same command continues.
    """
    check = check_shards(out, full, workers, scratch=scratch)
    with open_store(out, scratch) as store:
        plan = store.plan
        reasons = _reasons(check, only_failed)
        mended = _mend_tables(store, check)
        store.bring(list(reasons))
        before = {name: _failures(plan, name) for name in reasons}
        if reasons:
            try_output(plan.layout.manifest)
            require_videos(plan)
            refuse_older_format(plan)
            refuse_other_libraries(plan)
        todo, left = _possible(plan, check, reasons, before)
        made, given_up = _rebuild(store, todo, before, WorkerPool(workers=workers, seconds_per_file=seconds_per_file))
        left |= {name: f"{reasons[name]}; but {why}" for name, why in given_up.items()}
        of_all = {plan.layout.manifest.name, plan.layout.samples.name}
        merged = bool(made or any(damage.file in of_all for damage in check.damages))
        merged = merged and not store.missing()
        if merged:
            store.finish()
        failing = {clip: why for name in before for clip, why in (_failures(plan, name) or {}).items()}
    return Repair(
        check, rebuilt={name: reasons[name] for name in made}, left=left,
        read=[clip for name in made for clip in before[name] or {} if clip not in failing],
        failing=failing, unbuilt=[name for name in check.unbuilt if name not in made], merged=merged, mended=mended,
    )  # fmt: skip


def _mend_tables(store: ShardStore, check: Check) -> dict[str, str]:
    """Record the clips again if the record is damaged; remove damaged detections, which a build finds again."""
    mended, plan = {}, store.plan
    for damage in check.damages:
        if damage.file == plan.layout.inputs.name:
            store.bring([unit.name for unit in plan.units])
            store.record(None, made_of(plan))
            mended[damage.file] = "the clips are recorded again; changed ones as they were when their unit was built"
        elif is_face_table(damage.file):
            store.remove_faces(Path(damage.file).name)
            mended[damage.file] = "removed; a build that needs it detects the faces again"
    return mended


def _reasons(check: Check, only_failed: bool) -> dict[str, str]:
    """Unit → why it must be rebuilt."""
    reasons: dict[str, list[str]] = {}
    for damage in check.damages:
        if damage.unit and not (only_failed and damage.unit in check.unbuilt):
            reasons.setdefault(damage.unit, []).append(str(damage))
    for unit, count in check.failed.items():
        reasons.setdefault(unit, []).append(f"{counted(count, 'clip')} could not be read")
    return {
        unit: texts[0] + (f" (and {len(texts) - 1} more)" if len(texts) > 1 else "") for unit, texts in reasons.items()
    }


def _possible(plan: Plan, check: Check, reasons: dict[str, str],
              before: dict[str, Failures | None]) -> tuple[list[Unit], dict[str, str]]:  # fmt: skip
    """The units that can be rebuilt without losing samples, and why the others cannot."""
    todo, left = [], {}
    damaged = {damage.unit for damage in check.damages}
    never = {clip for clip, facts in read_inputs(plan).items() if facts == ABSENT}
    for unit in plan.units:
        if unit.name not in reasons:
            continue
        failures = before[unit.name]
        gone = absent_now(plan, unit)
        if unit.name not in damaged and set(failures or ()) <= {clip.id for clip in gone}:
            continue  # what could not be read is still missing
        lost = [clip.path for clip in gone if clip.id not in (never if failures is None else failures)]
        if lost and unit.name not in check.unbuilt:
            left[unit.name] = f"{reasons[unit.name]}; but {len(lost)} of its clips are missing now: {lost[0]}"
            continue
        try:
            refuse_changed_inputs(plan, [unit], failures or ())
        except ShardError as error:
            left[unit.name] = f"{reasons[unit.name]}; but {' '.join(error.what.split())}"
            continue
        todo.append(unit)
    return todo, left


def _rebuild(store: ShardStore, todo: Sequence[Unit], before: dict[str, Failures | None],
             pool: WorkerPool) -> tuple[list[str], dict[str, str]]:  # fmt: skip
    """Rebuild units: the names of those that were built, and why the others were not."""
    if not todo:
        return [], {}
    failures = {clip: why for unit in todo for clip, why in (before[unit.name] or {}).items()}
    if failures:  # a clip that had failed may be another file now
        clips = (clip for unit in todo for family in unit.families for clip in family.clips)
        store.record([clip for clip in clips if clip.id in failures])
    shards = {unit.name: store.shards_of(unit) for unit in todo}
    for unit in todo:
        store.forget(unit)
    deadly = any(why.startswith("deadly") for why in failures.values())
    outcome = make_units(store, todo, replace(pool, skip_deadly=deadly))
    missing = {unit.name for unit in store.missing()}
    made = [unit for unit in todo if unit.name not in missing]
    store.bring([unit.name for unit in made])
    for unit in made:
        _drop_stale(store, unit, shards[unit.name])
    return [unit.name for unit in made], {report.unit: report.reason for report in outcome.given_up}


def _drop_stale(store: ShardStore, unit: Unit, old: Sequence[str]) -> None:
    """Remove shards that the unit no longer has, because it has fewer samples of a label now."""
    kept = {shard["shard"] for shard in check_rows(store.plan, unit.name).shards}
    for shard in old:
        if shard not in kept:
            store.remove_shard(shard)


def _failures(plan: Plan, unit: str) -> Failures | None:
    """The clips of a unit that could not be read; None if its table or its marker is damaged."""
    try:
        check_rows(plan, unit)
    except ShardError:
        return None
    rows = read_rows(plan.layout.unit_rows(unit))
    failed = rows.filter(pc.equal(rows["status"], FAILED))
    return dict(zip(failed["clip"].to_pylist(), failed["reason"].to_pylist(), strict=True))


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title}: {line}" for line in first_of(lines, MAX_LISTED)]

"""`mrigan shards repair`: make again what is damaged, and what could not be read when it was built; nothing else.

A unit that is made again comes out as a fresh build would make it, byte for byte. One that would come out smaller,
because clips that it had are not there now, is left as it is.
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
from mrigan.packing.inputs import (
    ABSENT,
    absent_now,
    read_inputs,
    refuse_changed_inputs,
    refuse_older_format,
    refuse_other_libraries,
)
from mrigan.packing.open_store import open_store
from mrigan.packing.store import ShardStore
from mrigan.packing.unit import require_videos
from mrigan.packing.verify import Check, check_shards, is_face_table
from mrigan.shardset.marker import check_rows, made_of
from mrigan.shardset.plan_file import Plan, Unit
from mrigan.shardset.rows import FAILED, read_rows

NAMED = 20  # clips listed for a person

Failures = dict[str, str]  # clip id → why it could not be read


@dataclass(frozen=True)
class Repair:
    """What `repair_shards` did.

    Attributes:
        check: what was found before.
        rebuilt: unit → why it was made again. left: unit → why it was not, though it should have been.
        read: clips that had failed and are read now. failing: clips of these units that still fail → why.
        unbuilt: units that no build has made yet; not repair's work.
        merged: the manifest and the table of all rows were written anew.
        mended: other files of the set → what was done about them.
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
        """Nothing damaged is left."""
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
        merged = ", manifest and samples.parquet written anew" if self.merged else ""
        return [*lines, f"{self.check.folder}: {did}{merged}"]


def repair_shards(
    out: str | Path, *, only_failed: bool = False, full: bool = True, workers: int = 0, scratch: str | Path = "",
    seconds_per_file: float | None = None,
) -> Repair:  # fmt: skip
    """Rebuild the units that have damaged or missing files, and those with clips that could not be read.

    Args:
        only_failed: leave units alone that no build has made yet; without it they are built, too.
        full: look for damages in every byte; else as `check_shards` does without it.
        workers: processes, and threads of the check; 0 = one a CPU core.
        scratch: folder of this machine for what comes from a URL and goes to it, "" = the system's.
        seconds_per_file: as in `WorkerPool`.

    Raises:
        ShardError: there is no plan, the folder of the videos is not there, this machine has other libraries than the
            plan, or a unit could not be built.
        Stopped: a signal came; the same command continues.
    """
    check = check_shards(out, full, workers, scratch=scratch)
    with open_store(out, scratch) as store:
        plan = store.plan
        wanted = _wanted(check, only_failed)
        mended = _mend_tables(store, check)
        store.bring(list(wanted))
        before = {name: _failures(plan, name) for name in wanted}
        if wanted:
            try_output(plan.layout.manifest)
            require_videos(plan)
            refuse_older_format(plan)
            refuse_other_libraries(plan)
        todo, left = _possible(plan, check, wanted, before)
        made, given_up = _rebuild(store, todo, before, WorkerPool(workers=workers, seconds_per_file=seconds_per_file))
        left |= {name: f"{wanted[name]}; but {why}" for name, why in given_up.items()}
        of_all = {plan.layout.manifest.name, plan.layout.samples.name}
        merged = bool(made or any(damage.file in of_all for damage in check.damages))
        merged = merged and not store.missing()
        if merged:
            store.finish()
        failing = {clip: why for name in before for clip, why in (_failures(plan, name) or {}).items()}
    return Repair(
        check, rebuilt={name: wanted[name] for name in made}, left=left,
        read=[clip for name in made for clip in before[name] or {} if clip not in failing],
        failing=failing, unbuilt=[name for name in check.unbuilt if name not in made], merged=merged, mended=mended,
    )  # fmt: skip


def _mend_tables(store: ShardStore, check: Check) -> dict[str, str]:
    """Record the clips again where that record is damaged; remove damaged detections, which a build finds again."""
    mended, plan = {}, store.plan
    for damage in check.damages:
        if damage.file == plan.layout.inputs.name:
            store.bring([unit.name for unit in plan.units])
            store.record(None, made_of(plan))
            mended[damage.file] = "the clips are recorded again; those that are no longer what samples were made of, " \
                                  "as they were"  # fmt: skip
        elif is_face_table(damage.file):
            store.remove_faces(Path(damage.file).name)
            mended[damage.file] = "removed; faces are found again where a build needs them"
    return mended


def _wanted(check: Check, only_failed: bool) -> dict[str, str]:
    """Unit → why it is to be made again."""
    reasons: dict[str, list[str]] = {}
    for damage in check.damages:
        if damage.unit and not (only_failed and damage.unit in check.unbuilt):
            reasons.setdefault(damage.unit, []).append(str(damage))
    for unit, count in check.failed.items():
        reasons.setdefault(unit, []).append(f"{count} clip{'s' if count > 1 else ''} could not be read")
    return {unit: whys[0] + (f" (and {len(whys) - 1} more)" if len(whys) > 1 else "") for unit, whys in reasons.items()}


def _possible(plan: Plan, check: Check, wanted: dict[str, str],
              before: dict[str, Failures | None]) -> tuple[list[Unit], dict[str, str]]:  # fmt: skip
    """The units that can be made again as they were, or better; and why not the others."""
    todo, left = [], {}
    damaged = {damage.unit for damage in check.damages}
    never = {clip for clip, facts in read_inputs(plan).items() if facts == ABSENT}
    for unit in plan.units:
        if unit.name not in wanted:
            continue
        failures = before[unit.name]
        gone = absent_now(plan, unit)
        if unit.name not in damaged and set(failures or ()) <= {clip.id for clip in gone}:
            continue  # what could not be read is still not there
        lost = [clip.path for clip in gone if clip.id not in (never if failures is None else failures)]
        if lost and unit.name not in check.unbuilt:
            left[unit.name] = f"{wanted[unit.name]}; but {len(lost)} of its clips are not there now: {lost[0]}"
            continue
        try:
            refuse_changed_inputs(plan, [unit], failures or ())
        except ShardError as error:
            left[unit.name] = f"{wanted[unit.name]}; but {' '.join(error.what.split())}"
            continue
        todo.append(unit)
    return todo, left


def _rebuild(store: ShardStore, todo: Sequence[Unit], before: dict[str, Failures | None],
             pool: WorkerPool) -> tuple[list[str], dict[str, str]]:  # fmt: skip
    """Make units again: the names of those that were made, and why the others were not."""
    if not todo:
        return [], {}
    failures = {clip: why for unit in todo for clip, why in (before[unit.name] or {}).items()}
    if failures:  # what had failed may be another file now
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
    """Remove the shards that the unit had and has no more: it gives fewer samples of that label now, or none."""
    kept = {shard["shard"] for shard in check_rows(store.plan, unit.name).shards}
    for shard in old:
        if shard not in kept:
            store.remove_shard(shard)


def _failures(plan: Plan, unit: str) -> Failures | None:
    """The clips of a unit that could not be read; None where its table or its marker is damaged."""
    try:
        check_rows(plan, unit)
    except ShardError:
        return None
    rows = read_rows(plan.layout.unit_rows(unit))
    failed = rows.filter(pc.equal(rows["status"], FAILED))
    return dict(zip(failed["clip"].to_pylist(), failed["reason"].to_pylist(), strict=True))


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    more = [f"{title}: … and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    return [*(f"{title}: {line}" for line in lines[:NAMED]), *more]

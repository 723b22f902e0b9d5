"""`mrigan shards build`: all units of a plan by worker processes, then the table of all rows and the manifest.

A unit is done when its marker is there, which is written last. Whatever was killed, and however often: the build that
comes after makes the missing units again, and the folder ends up byte for byte the same.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrigan.errors import ShardError
from mrigan.packing.leftovers import builder
from mrigan.packing.manifest import Summary, summarise, write_manifest
from mrigan.packing.plan import Plan, Unit, load_plan
from mrigan.packing.unit import UnitMaker, UnitReport, is_done
from mrigan.packing.workers import Busy, Died, Done, run_tasks
from mrigan.progress import Advance, bar

log = logging.getLogger(__name__)


class Stopped(ShardError):  # noqa: N818 (nothing is wrong)
    """A signal stopped the build; started again it goes on."""

    exit_code = 75


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def build_shards(out: str | Path, workers: int = 0) -> Summary:
    """Build what is missing of the plan in `out`. What is there and whole is kept.

    Args:
        workers: processes, 0 = one a CPU core that this process may use.

    Raises:
        ShardError: no plan; the videos are not there; the disk is full; a unit kills its worker each time; stopped by a
            signal; or not a single face could be stored. All finished units stay.
    """
    plan = load_plan(out)
    if not plan.root.is_dir():
        raise ShardError(
            "the folder of the videos is not there",
            where=plan.root,
            fix="mount it, or scan and plan again where it lies now",
        )
    started = time.monotonic()
    reports: list[UnitReport] = []
    with builder(plan.layout):
        todo = [unit for unit in plan.units if not is_done(plan, unit)]
        dead = list(_build(plan, todo, workers or len(os.sched_getaffinity(0)), reports))
        if dead:
            lines = [f"{d.task.name}: {d.reason}, each time, {_at(d)}" for d in dead]
            raise ShardError(
                f"{len(dead)} of {len(plan.units)} units could not be built:\n    " + "\n    ".join(lines),
                where=plan.folder,
                fix="start it again, with fewer --workers if memory ran out; what is "
                "finished is kept. If one clip is to blame, take it out of the catalog",
            )
        write_manifest(plan)  # under the lock: another builder that ends would take its temporary files for leftovers
    summary = summarise(plan, reports, time.monotonic() - started)
    if not summary.stored:
        reasons = (summary.dropped + summary.failures).most_common(5)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons)
        raise ShardError(
            f"not a single face could be stored: {why or 'no clips'}",
            where=plan.folder,
            fix="see the reasons in samples.parquet",
        )
    return summary


def _build(plan: Plan, todo: list[Unit], workers: int, reports: list[UnitReport]) -> Iterator[Died]:
    """Make the units; yields those that could not be made."""
    families = sum(len(unit.families) for unit in plan.units)
    left = sum(len(unit.families) for unit in todo)
    workers, arguments = min(workers, max(len(todo), 1)), (replace(plan, units=()),)
    with _signals() as caught, bar("shards", families, unit="families", done=families - left) as advance:
        meter = _Meter(advance)
        try:
            for outcome in run_tasks(UnitMaker, arguments, todo, workers=workers, stop=lambda: bool(caught)):
                unit = outcome.task
                if isinstance(outcome, Busy):
                    meter.update(unit, outcome.note.done, outcome.note.stored)
                elif isinstance(outcome, Done):
                    meter.update(unit, len(unit.families), outcome.result.stored)
                    reports.append(outcome.result)
                    _note(plan, outcome.result)
                else:
                    log.error("unit %s: %s", unit.name, outcome.reason)
                    yield outcome
        except OSError as error:
            if error.errno in FULL:
                raise ShardError(
                    f"no room left to write: {error.strerror}",
                    where=plan.folder,
                    fix="make room and start it again; finished units are kept",
                ) from error
            raise
    if caught:
        name = signal.Signals(caught[0]).name
        raise Stopped(
            f"stopped by {name}; {len(reports)} of {len(todo)} missing units were built",
            where=plan.folder,
            fix="start it again to go on",
        )


class _Meter:
    """Families and faces done, from what the workers tell about their units."""

    def __init__(self, advance: Advance) -> None:
        self.advance, self.started = advance, time.monotonic()
        self.families: Counter[str] = Counter()
        self.faces: Counter[str] = Counter()

    def update(self, unit: Unit, families: int, faces: int) -> None:
        """So many of the unit are done now; a unit that is tried again starts from nothing."""
        self.faces[unit.name] = faces
        more = families - self.families[unit.name]
        if more > 0:
            self.families[unit.name] = families
            rate = self.faces.total() / (time.monotonic() - self.started)
            self.advance(more, note=f"{rate:.1f} faces/s")


def _at(died: Died) -> str:
    return f"at the family of {died.note.family}" if died.note else "at its start"


def _note(plan: Plan, report: UnitReport) -> None:
    """One line a unit, for a person and as JSON beside the shards."""
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in report.seconds.items())
    counts = [report.counts.get(key, 0) for key in ("real", "fake", "dropped", "failed")]
    log.info("unit %s: %d reals, %d fakes, %d dropped, %d failed; %.1f s (CPU: %s)",
             report.unit, *counts, report.wall, stages)  # fmt: skip
    with open(plan.layout.log, "a", encoding="utf-8") as file:
        file.write(json.dumps(report.as_dict()) + "\n")


@contextmanager
def _signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM fill the list instead of ending the process; outside the main thread nothing is caught."""
    caught: list[int] = []
    old: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            old[number] = signal.signal(number, lambda signum, _frame: caught.append(signum))
    except ValueError:
        log.debug("not in the main thread: signals are left alone")
    try:
        yield caught
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)

"""Workers build the units: processes of this machine, or tasks of a Ray cluster.

Slurm needs nothing here: each task of a job array builds its own slice of the plan (slurm/build_shards.sbatch).
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from mrigan.errors import ConfigError, MriganError, ShardError
from mrigan.packing.journal import FAILED, UnitReport
from mrigan.packing.plan import Unit
from mrigan.packing.store import ShardStore
from mrigan.packing.unit import UnitTask, require_videos
from mrigan.progress import Advance, bar
from mrigan.stopping import AGAIN, Stopped, noted_signals
from mrigan.storage import UnreachableError
from mrigan.workers.pool import Busy, Died, Done, run_tasks
from mrigan.workers.ray_pool import ray_session, run_on_ray

log = logging.getLogger(__name__)

DISTRIBUTORS = ("pool", "ray")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class WorkerPool:
    """Which workers build the units.

    Attributes:
        distributor: one of `DISTRIBUTORS`.
        workers: processes of the pool, 0 = one for each CPU core that this process may use. Ray decides by itself.
        ray_address: of a running cluster, "" = RAY_ADDRESS, or the cluster of this machine.
        skip_deadly: a family that killed every worker that tried it becomes failed rows, and its unit is built
            without it. Otherwise such a unit is given up.
        seconds_per_file: None = as the plan says (`limits.seconds_per_file`).
    """

    distributor: str = "pool"
    workers: int = 0
    ray_address: str = ""
    skip_deadly: bool = False
    seconds_per_file: float | None = None

    def __post_init__(self) -> None:
        if self.distributor not in DISTRIBUTORS:
            raise ConfigError(
                f"no distributor {self.distributor!r}", where="--distributor", fix=f"one of: {', '.join(DISTRIBUTORS)}"
            )


@dataclass
class Outcome:
    """Reports of the units that were built, and of those that were given up."""

    made: list[UnitReport] = field(default_factory=list)
    given_up: list[UnitReport] = field(default_factory=list)


def make_units(store: ShardStore, units: Sequence[Unit], pool: WorkerPool) -> Outcome:
    """Build units of a plan that are missing.

    Raises:
        ShardError: the disk is full, or the videos are gone. Finished units are kept.
        Stopped: by SIGINT or SIGTERM; unfinished units are dropped.
        ConfigError: Ray is not installed, or no cluster answers.
    """
    families, left = _families(store.plan.units), _families(units)
    with (
        _session(pool),
        noted_signals() as caught,
        bar("shards", families, "families", done=families - left) as advance,
    ):
        work = _Work(store, pool, _Meter(advance), lambda: bool(caught))
        tasks = [UnitTask(unit) for unit in units]
        while tasks and not caught:
            tasks = list(work.round(tasks))
    if caught:
        name = signal.Signals(caught[0]).name
        raise Stopped(
            f"stopped by {name}; {len(work.outcome.made)} of {len(units)} missing units were built",
            where=store.where,
            fix=AGAIN,
        )
    return work.outcome


@dataclass
class _Work:
    store: ShardStore
    pool: WorkerPool
    meter: _Meter
    stop: Callable[[], bool]
    outcome: Outcome = field(default_factory=Outcome)

    def round(self, tasks: list[UnitTask]) -> Iterator[UnitTask]:
        """Build units; yields those to be tried again without a deadly family or a slow clip."""
        for event in self._run(tasks):
            task: UnitTask = event.task
            if isinstance(event, Busy):
                self.meter.update(task.unit, event.note.done, event.note.stored)
            elif isinstance(event, Done):
                self.meter.update(task.unit, len(task.unit.families), event.result.stored)
                self.outcome.made.append(event.result)
                log.info(event.result.line())
            else:
                _raise_if_hopeless(self.store, event.error)
                if event.late is not None:
                    yield from self._without_slow(task, event)
                    continue
                at = f"at the family {event.note.family}" if event.note else "at its start"
                if event.again:
                    log.warning("unit %s: %s, %s; it is tried again", task.name, event.reason, at)
                elif self.pool.skip_deadly and event.note:
                    log.warning("unit %s: %s, each time, %s; skipping that family", task.name, event.reason, at)
                    yield replace(task, skip=(*task.skip, (event.note.family, event.reason)))
                else:
                    self._give_up(task, f"{event.reason}, each time, {at}", event.error)

    def _without_slow(self, task: UnitTask, event: Died) -> Iterator[UnitTask]:
        """The unit, to be built without the clip that took too long."""
        assert event.late is not None
        plan, file = self.store.plan, event.late.file
        clips = (clip.id for family in task.unit.families for clip in family.clips
                 if os.fsdecode(plan.path(clip)) == file)  # fmt: skip
        clip = next(clips, None)
        if clip is None or clip in dict(task.slow):
            self._give_up(task, f"{event.reason}: {file}", None)
            return
        require_videos(plan)  # otherwise every clip would be too slow
        reason = f"took longer than {self.limit:g} s (limits.seconds_per_file)"
        log.warning("unit %s: %s %s on this machine; the unit is made without it", task.name, file, reason)
        yield replace(task, slow=(*task.slow, (clip, reason)))

    @property
    def limit(self) -> float:
        """Seconds that a worker may spend on one file, 0 = no limit."""
        given = self.pool.seconds_per_file
        return self.store.plan.config.limits.seconds_per_file if given is None else given

    def _run(self, tasks: list[UnitTask]) -> Iterator[Done | Busy | Died]:
        setup, arguments = self.store.worker
        if self.pool.distributor == "ray":
            return run_on_ray(setup, arguments, tasks, stop=self.stop, seconds_per_file=self.limit)
        workers = self.pool.workers or len(os.sched_getaffinity(0))
        return run_tasks(setup, arguments, tasks, workers=min(workers, len(tasks)), stop=self.stop,
                         seconds_per_file=self.limit)  # fmt: skip

    def _give_up(self, task: UnitTask, reason: str, error: BaseException | None) -> None:
        report = UnitReport(task.name, FAILED, reason=reason)
        log.error(report.line())
        for note in getattr(error, "__notes__", ()):
            log.error("%s", note)
        self.store.keep(report)
        self.outcome.given_up.append(report)


def _session(pool: WorkerPool) -> Any:
    """Connect to Ray, which sets its own signal handlers, before Mrigan sets its handlers."""
    if pool.distributor == "ray":
        return ray_session(pool.ray_address)
    return nullcontext()


def _raise_if_hopeless(store: ShardStore, error: BaseException | None) -> None:
    """Raise errors that every other unit would meet, too."""
    if isinstance(error, MriganError) and not isinstance(error, UnreachableError):  # another try may reach it
        raise error
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        raise ShardError(
            f"no room left to write: {error.strerror}",
            where=error.filename or store.where,
            fix="free some space and start the build again; finished units are kept",
        ) from error


class _Meter:
    """Families and faces done, from the reports of the workers."""

    def __init__(self, advance: Advance) -> None:
        self.advance, self.started = advance, time.monotonic()
        self.families: Counter[str] = Counter()
        self.faces: Counter[str] = Counter()

    def update(self, unit: Unit, families: int, faces: int) -> None:
        """Set what is done of a unit; a unit that is tried again starts from 0."""
        self.faces[unit.name] = faces
        more = families - self.families[unit.name]
        if more > 0:
            self.families[unit.name] = families
            rate = self.faces.total() / (time.monotonic() - self.started)
            self.advance(more, note=f"{rate:.1f} faces/s")


def _families(units: Sequence[Unit]) -> int:
    return sum(len(unit.families) for unit in units)

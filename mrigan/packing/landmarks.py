"""`mrigan shards landmarks`: landmarks for a finished set that was built without them, as tables beside its shards.

They are found where the set's clips still are: on each clip's own pixels, in native px of its own frame, at the boxes
in the samples' json. Landmarks that were copied from an original to its fakes would show no forgery. The shards do not
change. Each unit has a table (`mrigan.shardset.landmarks`), written whole; another call finds what is missing, and
looks again at clips that could not be read.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from mrigan.errors import MriganError, ShardError
from mrigan.files import try_output
from mrigan.packing.landmark_worker import FINDERS, LandmarkWorker
from mrigan.packing.plan import Plan, load_plan
from mrigan.packing.unit import UnitTask, require_videos
from mrigan.progress import bar
from mrigan.shardset.leftovers import clean_folders
from mrigan.shardset.manifest import check_samples
from mrigan.shardset.plan_file import clips_of
from mrigan.stopping import AGAIN, Stopped, noted_signals
from mrigan.storage import folder_of, is_url
from mrigan.workers.pool import Busy, Died, Done, run_tasks

log = logging.getLogger(__name__)


@dataclass
class LandmarkReport:
    """What `find_landmarks` did.

    Attributes:
        samples: of the set. found: of them, with landmarks, also of earlier calls. looked: faces in this call.
        reasons: why samples have none → their number.
        given_up: unit → why its landmarks were not found.
    """

    folder: str
    source: str
    samples: int = 0
    found: int = 0
    looked: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    given_up: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every unit has its table."""
        return not self.given_up

    def add(self, counts: Counter[str], looked: int) -> None:
        """A unit's samples by reason."""
        self.samples += counts.total()
        self.found += counts[""]
        self.looked += looked
        self.reasons += Counter({why: count for why, count in counts.items() if why})

    def lines(self) -> list[str]:
        """For a person."""
        lines = [f"without: {count} {why.replace('_', ' ')}" for why, count in self.reasons.most_common()]
        lines += [f"given up {unit}: {why}" for unit, why in self.given_up.items()]
        return [*lines, f"{self.folder}: landmarks ({self.source}) of {self.found} of {self.samples} samples; "
                f"{self.looked} faces looked at now"]  # fmt: skip


def find_landmarks(out: str | Path, source: str = "mesh", workers: int = 0) -> LandmarkReport:
    """Find the landmarks that a finished set lacks.

    Args:
        out: a folder of this machine.
        source: a name in `FINDERS`.
        workers: processes, 0 = one for each CPU core.

    Raises:
        ShardError: the set is not finished or at a URL; its samples hold these landmarks; or all videos are gone.
        ModelError: the source is not installed.
        Stopped: by a signal; the same command continues.
    """
    if is_url(out):
        raise ShardError(
            "landmarks are found for a set in a folder", where=str(out), fix="copy the set to this machine"
        )
    plan = load_plan(folder_of(out))
    check_samples(plan.layout)
    if source == plan.config.faces.landmarks:
        raise ShardError("the samples of this set hold their landmarks already", where=plan.folder, fix="nothing to do")
    FINDERS[source]()
    require_videos(plan)
    folder = plan.layout.unit_landmarks(source, "unit").parent
    folder.mkdir(parents=True, exist_ok=True)
    clean_folders(folder)
    for unit in plan.units[:1]:
        try_output(plan.layout.unit_landmarks(source, unit.name))
    report = LandmarkReport(str(plan.folder), source)
    tasks = [UnitTask(unit) for unit in plan.units]
    arguments = replace(plan, units=()), source
    count = min(workers or len(os.sched_getaffinity(0)), len(tasks))
    limit = plan.config.limits.seconds_per_file
    with noted_signals() as caught, bar("landmarks", len(tasks), "units") as advance:
        while tasks and not caught:
            events = run_tasks(LandmarkWorker, arguments, tasks, workers=count, stop=lambda: bool(caught),
                               seconds_per_file=limit)  # fmt: skip
            tasks = list(_again(plan, events, report, advance))
    if caught:
        name = signal.Signals(caught[0]).name
        raise Stopped(f"stopped by {name}; finished units are kept", where=plan.folder, fix=AGAIN)
    return report


def _again(
    plan: Plan, events: Iterable[Done | Busy | Died], report: LandmarkReport, advance: Callable[[], None]
) -> Iterator[UnitTask]:
    """Put outcomes into the report; yields units to be tried again without a slow clip."""
    for event in events:
        task: UnitTask = event.task
        if isinstance(event, Done):
            report.add(*event.result)
            advance()
        elif isinstance(event, Died):
            if isinstance(event.error, MriganError):
                raise event.error
            file = event.late.file if event.late else ""
            slow = [clip.id for clip in clips_of([task.unit]) if os.fsdecode(plan.path(clip)) == file]
            if slow and slow[0] not in dict(task.slow):
                yield replace(task, slow=(*task.slow, (slow[0], "took longer than limits.seconds_per_file")))
            elif event.again:
                log.warning("unit %s: %s; it is tried again", task.name, event.reason)
            else:
                report.given_up[task.name] = event.reason

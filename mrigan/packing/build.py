"""`mrigan shards build`: the missing units of a plan, then the table of all rows and the manifest.

A unit is done when its marker exists, which is written last. However often builds are killed, the next build makes the
missing units, and the set ends up byte for byte the same. Any number of builders may work on one plan, on one machine
or on many: two builders write the same bytes, and files appear by renaming.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from mrigan.errors import ConfigError, ShardError
from mrigan.files import try_output
from mrigan.packing.dispatch import Outcome, WorkerPool, make_units
from mrigan.packing.libraries import refuse_older_format, refuse_other_libraries
from mrigan.packing.open_store import open_store
from mrigan.packing.record import refuse_changed_inputs
from mrigan.packing.store import ShardStore
from mrigan.packing.summary import Summary, summarise
from mrigan.packing.unit import require_videos


@dataclass(frozen=True)
class Slice:
    """What one task of a job array has built.

    Attributes:
        units: of the slice. built: of them, by this task. stored: faces, by this task. wall: seconds.
    """

    units: int
    built: int
    stored: int
    wall: float

    def lines(self) -> list[str]:
        """For a person."""
        return [f"{self.units} units: {self.built} built now, {self.units - self.built} existed; "
                f"{self.stored} faces in {self.wall:.1f} s"]  # fmt: skip


def build_shards(
    out: str | Path, workers: int = 0, *, pool: WorkerPool | None = None, scratch: str | Path = ""
) -> Summary:
    """Build what is missing of the plan in `out`, then the manifest. Whole units are kept.

    Args:
        out: a folder, or a URL for fsspec.
        workers: processes, 0 = one for each CPU core. Short for `pool=WorkerPool(workers=...)`.
        scratch: folder of this machine where the units of a URL are built, "" = the system's.

    Raises:
        ShardError: there is no plan; the videos are missing; the disk is full; units were given up; or no face could be
            stored. Finished units are kept.
        Stopped: by a signal.
    """
    started = time.monotonic()
    with open_store(out, scratch) as store:
        outcome = _make(store, pool or WorkerPool(workers=workers))
        store.finish()
        summary = summarise(store.plan, outcome.made, time.monotonic() - started)
    if not summary.stored:
        reasons = (summary.dropped + summary.failures).most_common(5)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons)
        raise ShardError(
            f"not a single face could be stored: {why or 'no clips'}",
            where=store.where,
            fix="see the reasons in samples.parquet",
        )
    return summary


def build_slice(out: str | Path, task: int, of: int, *, pool: WorkerPool, scratch: str | Path = "") -> Slice:
    """Build what is missing of one slice of the plan in `out`: the units `task`, `task + of`, `task + 2 of` ...

    `build_shards` after all slices builds what they left, and writes the manifest.

    Raises:
        ConfigError: `task` is not below `of`.
        ShardError: as `build_shards`.
    """
    if not 0 <= task < of:
        raise ConfigError(f"no task {task} of {of}", where="--task", fix="0 is the first, one less than --of the last")
    started = time.monotonic()
    with open_store(out, scratch, slice(task, None, of)) as store:
        outcome = _make(store, pool)
        units = len(store.plan.units)
    stored = sum(report.stored for report in outcome.made)
    return Slice(units, len(outcome.made), stored, time.monotonic() - started)


def _make(store: ShardStore, pool: WorkerPool) -> Outcome:
    missing = store.missing()
    if not missing:
        return Outcome()
    try_output(store.plan.layout.manifest)
    require_videos(store.plan)
    refuse_older_format(store.plan)
    refuse_other_libraries(store.plan)
    refuse_changed_inputs(store.plan, missing)
    outcome = make_units(store, missing, pool)
    if outcome.given_up:
        lines = [f"{report.unit}: {report.reason}" for report in outcome.given_up]
        raise ShardError(
            f"{len(lines)} of {len(store.plan.units)} units could not be built:\n    " + "\n    ".join(lines),
            where=store.where,
            fix="start it again, with fewer --workers if memory ran out; finished units are kept. If one family is to "
            "blame, --skip-deadly makes failed rows of it",
        )
    return outcome

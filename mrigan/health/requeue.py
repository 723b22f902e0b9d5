"""Whether a batch job should train again; `slurm/train.sbatch` asks before and after each start.

    python -m mrigan.health.requeue begin RUN_DIR --job 17             exit code 0: train; 1: no more
    python -m mrigan.health.requeue end   RUN_DIR --job 17 [--asked]   prints a `RequeueDecision`

An exit code is not enough: torchrun turns every code but 0 into 1, and a job that was asked to stop may have finished.
So `run.dir/status.json` decides, if this start has written it. A note beside the run folder counts the starts that
saved no further step, because a job without progress would be started for ever. This module does not import torch,
because it runs often.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mrigan.checked_json import read_checked_json, write_checked_json
from mrigan.errors import CheckpointError
from mrigan.health.failure import first_failure
from mrigan.health.status import NAME, read_status
from mrigan.terminal import say

MAX_IDLE_STARTS = 3  # starts in a row that may end without a further step saved


class RequeueDecision(StrEnum):
    """What a batch script should do next."""

    FINISHED = "finished"  # all steps are done
    REQUEUE = "requeue"  # asked to stop, or hung twice: release the nodes, continue later
    AGAIN = "again"  # the cause may not recur (a killed rank, a lost link): restart at once on the same nodes
    STOPPED = "stopped"  # by a person's signal, not by the queue: that person decides
    FAILED = "failed"  # the error would recur, or there were too many starts without progress


@dataclass
class StartNote:
    """The starts of a job, in `<run.dir>/../.<name>.job.json`.

    Attributes:
        job: Slurm's job id; another job starts the count again.
        step: the last saved step at the beginning of the newest start.
        idle: consecutive starts before that one that saved no further step.
        stamp: modification time of `status.json` in ns at the beginning of the newest start; 0 = there was none.
    """

    job: str
    step: int = 0
    idle: int = 0
    stamp: int = 0


def begin(run: Path, job: str, limit: int = MAX_IDLE_STARTS) -> str:
    """Record a start. Returns "" to continue, else the reason not to: earlier starts made no progress."""
    status, stamp = _status(run)
    note, before = StartNote(job, status.get("step", 0), 0, stamp), _read(run)
    if before is not None and before.job == job:
        note.idle = 0 if note.step > before.step else before.idle + 1
    write_checked_json(_path(run), asdict(note))
    return _too_often(note, limit)


def end(run: Path, job: str, asked: bool, limit: int = MAX_IDLE_STARTS) -> tuple[RequeueDecision, str]:
    """What to do after a start has ended, and why.

    Args:
        asked: the queue asked for a stop (time limit, preemption).
    """
    status, stamp = _status(run)
    note = _read(run) or StartNote(job)
    state, step, error = status.get("state"), status.get("step", 0), status.get("error")
    if state == "finished":
        _path(run).unlink(missing_ok=True)
        return RequeueDecision.FINISHED, f"finished at step {step}"
    if stamp == note.stamp and not asked:
        return RequeueDecision.FAILED, "training ended before it opened its run folder; the log above has the reason"
    if state == "running":  # rank 0 was killed before it could write the reason
        cause = first_failure(run / "health")
        state, error, again = ("failed", str(cause), not cause.known) if cause else (state, error, True)
    else:
        again = bool(status.get("retry"))
    if state == "failed" and not again and stamp != note.stamp:
        return RequeueDecision.FAILED, f"failed, and a restart would fail again: {error}"
    if state == "stopped" and stamp != note.stamp and not asked:
        return RequeueDecision.STOPPED, f"stopped at step {step}, not by the queue; submit the job again to continue"
    if step <= note.step:
        why = _too_often(StartNote(job, step, note.idle + 1), limit)
        if why:
            return RequeueDecision.FAILED, why
    if asked:
        return RequeueDecision.REQUEUE, f"asked to stop, at step {step}"
    if state == "hung" and step <= note.step:
        return RequeueDecision.REQUEUE, f"hung at step {step} without progress: requeued ({error})"
    return RequeueDecision.AGAIN, f"ended at step {step} ({error or 'killed without an error message'})"


def _too_often(note: StartNote, limit: int) -> str:
    if note.idle < limit:
        return ""
    return (
        f"{note.idle} starts in a row saved no step after {note.step}, so there will be no further start. Find the "
        "reason in the log above (a time limit shorter than a start and one step? a broken node?), then submit again"
    )


def _status(run: Path) -> tuple[dict[str, Any], int]:
    path = run / NAME
    stamp = path.stat().st_mtime_ns if path.exists() else 0
    try:
        return read_status(run), stamp
    except CheckpointError as error:  # the next start continues from the checkpoints, and rewrites it
        say(str(error), lines=True)
        return {}, stamp


def _path(run: Path) -> Path:
    return run.parent / f".{run.name}.job.json"


def _read(run: Path) -> StartNote | None:
    try:
        note, _ = read_checked_json(_path(run))
        return StartNote(**note)
    except (OSError, TypeError, ValueError):
        return None


def main(words: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("when", choices=("begin", "end"))
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--job", required=True, help="Slurm's job id")
    parser.add_argument("--asked", action="store_true", help="the queue asked for a stop")
    parser.add_argument("--limit", type=int, default=MAX_IDLE_STARTS, help="starts without progress (%(default)s)")
    options = parser.parse_args(words)
    run = options.run.absolute()
    if options.when == "begin":
        why = begin(run, options.job, options.limit)
        if why:
            say(why, lines=True)
        return 1 if why else 0
    decision, why = end(run, options.job, options.asked, options.limit)
    say(why, lines=True)
    sys.stdout.write(f"{decision}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

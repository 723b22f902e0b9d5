"""Whether a batch job should train again: what `slurm/train.sbatch` asks before and after each start.

    python -m mrigan.training.requeue begin RUN_DIR --job 17             exit code 0: train; 1: no more
    python -m mrigan.training.requeue end   RUN_DIR --job 17 [--asked]   prints one word, see `Verdict`

An exit code cannot tell: torchrun turns every code but 0 into 1, and a job that was asked to stop may have finished.
So `run.dir/status.json` decides, if this start has written it, and a note beside the run folder counts the starts that
saved no further step: a job that makes no progress would be started for ever. Without torch: it is asked often.
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

LIMIT = 3  # starts in a row that may end without a further step saved


class Verdict(StrEnum):
    """What a batch script should do next."""

    FINISHED = "finished"  # the run is complete
    REQUEUE = "requeue"  # asked to stop, or hung twice: give the nodes back, go on later
    AGAIN = "again"  # ended by what may not come again (a killed rank, a lost link): start once more, here and now
    STOPPED = "stopped"  # stopped by somebody's signal, not by the queue: theirs to go on
    FAILED = "failed"  # by what would come again, or too often


@dataclass
class Note:
    """What is known of a job's starts, in `<run.dir>/../.<name>.job.json`.

    Attributes:
        job: Slurm's job id; another job begins to count anew.
        step: the last saved step when the newest start began.
        idle: starts in a row, before that one, that saved no further step.
        stamp: `status.json`'s time of change in ns when the newest start began, 0 = it was not there.
    """

    job: str
    step: int = 0
    idle: int = 0
    stamp: int = 0


def begin(run: Path, job: str, limit: int = LIMIT) -> str:
    """Note a start; "" = go on, else why not: the starts before it made no progress."""
    status, stamp = _status(run)
    note, before = Note(job, status.get("step", 0), 0, stamp), _read(run)
    if before is not None and before.job == job:
        note.idle = 0 if note.step > before.step else before.idle + 1
    write_checked_json(_path(run), asdict(note))
    return _too_often(note, limit)


def end(run: Path, job: str, asked: bool, limit: int = LIMIT) -> tuple[Verdict, str]:
    """What to do after a start has ended, and why.

    Args:
        asked: the queue has asked for a stop (time is nearly up, a preemption).
    """
    status, stamp = _status(run)
    note = _read(run) or Note(job)
    state, step, error = status.get("state"), status.get("step", 0), status.get("error")
    if state == "finished":
        _path(run).unlink(missing_ok=True)
        return Verdict.FINISHED, f"finished at step {step}"
    if stamp == note.stamp and not asked:
        return Verdict.FAILED, "training ended before it opened its run folder: the reason stands above"
    if state == "running":  # rank 0 was killed before it could say why
        cause = first_failure(run / "health")
        state, error, again = ("failed", str(cause), not cause.known) if cause else (state, error, True)
    else:
        again = bool(status.get("retry"))
    if state == "failed" and not again and stamp != note.stamp:
        return Verdict.FAILED, f"failed, and would fail again: {error}"
    if state == "stopped" and stamp != note.stamp and not asked:
        return Verdict.STOPPED, f"stopped at step {step}, and not by the queue: submit it again to go on"
    if step <= note.step:
        why = _too_often(Note(job, step, note.idle + 1), limit)
        if why:
            return Verdict.FAILED, why
    if asked:
        return Verdict.REQUEUE, f"asked to stop, at step {step}"
    if state == "hung" and step <= note.step:
        return Verdict.REQUEUE, f"hung at step {step} without getting further; perhaps on other nodes: {error}"
    return Verdict.AGAIN, f"ended at step {step} ({error or 'killed: it left no word'})"


def _too_often(note: Note, limit: int) -> str:
    if note.idle < limit:
        return ""
    return (
        f"{note.idle} starts in a row saved no step after {note.step}: no more of them. To do: find the reason in the "
        "log above (time limit shorter than a start and one step? a broken node?), then submit it again"
    )


def _status(run: Path) -> tuple[dict[str, Any], int]:
    path = run / NAME
    stamp = path.stat().st_mtime_ns if path.exists() else 0
    try:
        return read_status(run), stamp
    except CheckpointError as error:  # the next start goes on from the checkpoints, and writes it anew
        say(str(error), lines=True)
        return {}, stamp


def _path(run: Path) -> Path:
    return run.parent / f".{run.name}.job.json"


def _read(run: Path) -> Note | None:
    try:
        note, _ = read_checked_json(_path(run))
        return Note(**note)
    except (OSError, TypeError, ValueError):
        return None


def main(words: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("when", choices=("begin", "end"))
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--job", required=True, help="Slurm's job id")
    parser.add_argument("--asked", action="store_true", help="the queue has asked for a stop")
    parser.add_argument("--limit", type=int, default=LIMIT, help="starts in a row without progress (%(default)s)")
    options = parser.parse_args(words)
    run = options.run.absolute()
    if options.when == "begin":
        why = begin(run, options.job, options.limit)
        if why:
            say(why, lines=True)
        return 1 if why else 0
    verdict, why = end(run, options.job, options.asked, options.limit)
    say(why, lines=True)
    sys.stdout.write(f"{verdict}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

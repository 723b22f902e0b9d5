"""`mrigan health RUN_DIR`: the state of a run, from its heartbeats and the other files of the health folder."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mrigan.errors import InputError
from mrigan.health.evidence import FLIGHT, STACKS
from mrigan.health.failure import RankFailure, dead_ranks, first_failure, read_failures, read_stall
from mrigan.health.heartbeat import ENDED, MAX_MISSED, PHASES, Heartbeat, lagging_ranks, read_heartbeats, silent_ranks
from mrigan.health.status import NAME, read_status

MAX_SHOWN = 16  # ranks that make progress, and files
AWAY_S = 60.0  # of silence of all ranks; longer than the difference between two clocks


class Word(StrEnum):
    """The state of a run."""

    MOVES = "moves"
    STUCK = "stuck"  # a rank makes no progress within its limit, or stopped writing
    SILENT = "silent"  # no rank writes, and none has written an error: killed
    HUNG = "hung"  # and ended by its watchdog
    FAILED = "failed"
    STOPPED = "stopped"
    FINISHED = "finished"
    NOT_YET = "not started"  # no heartbeat yet


BAD = (Word.STUCK, Word.SILENT, Word.HUNG, Word.FAILED)


@dataclass(frozen=True)
class Health:
    """The state of a run by the files of its folder.

    Attributes:
        why: a sentence.
        age: seconds since the newest heartbeat, by this machine's clock; None = no heartbeat.
        beats: sorted by rank. late: the ranks that the others wait for.
        missing: ranks without a heartbeat.
        cause: the first error of all ranks.
        evidence: files with more information.
    """

    run: Path
    word: Word
    why: str
    step: int
    age: float | None
    beats: list[Heartbeat]
    late: list[Heartbeat]
    missing: list[int]
    cause: RankFailure | None
    evidence: list[Path]

    @property
    def bad(self) -> bool:
        """Whether the run needs attention."""
        return self.word in BAD

    def data(self) -> dict[str, Any]:
        """The values for JSON."""
        return {
            "run": str(self.run),
            "word": str(self.word),
            "ok": not self.bad,
            "why": self.why,
            "step": self.step,
            "age_s": self.age,
            "behind": [beat.rank for beat in self.late],
            "missing": self.missing,
            "ranks": [asdict(beat) for beat in self.beats],
            "cause": asdict(self.cause) if self.cause else None,
            "evidence": [str(path) for path in self.evidence],
        }


def look(run: Path, now: float | None = None) -> Health:
    """Read the state of a run from its folder.

    Args:
        now: the time in seconds since 1970; None = now.

    Raises:
        InputError: the folder is not a run.
    """
    status = _status(run)
    folder = run / "health"
    beats, cause = read_heartbeats(folder), first_failure(folder)
    missing = sorted(set(range(beats[0].ranks)) - {beat.rank for beat in beats}) if beats else []
    age = round((time.time() if now is None else now) - max(beat.time for beat in beats), 1) if beats else None
    dead = dead_ranks(beats, read_failures(folder))
    word, why, late = _judge(status, beats, missing=missing, age=age, cause=cause, dead=dead, stall=read_stall(folder))
    evidence = sorted(path for end in (STACKS, FLIGHT, ".error.json") for path in folder.glob(f"rank-*{end}"))
    evidence += sorted(folder.glob("nccl-rank-*"))
    step = max((beat.step for beat in beats), default=int(status.get("step", 0)))
    return Health(run, word, why, step, age, beats, late, missing, cause, evidence)


def _judge(
    status: dict[str, Any],
    beats: list[Heartbeat],
    *,
    missing: list[int],
    age: float | None,
    cause: RankFailure | None,
    dead: list[Heartbeat],
    stall: dict[str, Any],
) -> tuple[Word, str, list[Heartbeat]]:
    state, error = status.get("state"), status.get("error")
    alive = age is not None and age < AWAY_S and any(beat.phase != ENDED for beat in beats)
    restarted = alive and cause is None and not stall  # `status` is still of the earlier start
    if state in ("finished", "stopped") and not restarted:
        return Word(state), error or f"after step {status.get('step')}", []
    if state in ("failed", "hung") and not restarted:
        return Word(state), str(error), []
    if age is None:
        return Word.NOT_YET, "no rank has written a heartbeat", []
    if cause is not None:
        return Word.FAILED, str(cause), []
    if dead:
        why = "; ".join(f"{b.name} died without an error message at {b.place}: killed?" for b in dead[:4])
        return Word.SILENT, why, dead
    if all(beat.phase == ENDED for beat in beats) or age > max(AWAY_S, 2 * MAX_MISSED * beats[0].every_s):
        return Word.SILENT, f"no heartbeat for {age:.0f} s, and no error message: killed?", []
    newest = max(beat.time for beat in beats)
    late, quiet = lagging_ranks(beats), silent_ranks(beats)
    over = [beat for beat in beats if beat.limit_s and _idle(beat, newest) > beat.limit_s]
    if "what" in stall and (over or quiet):
        return Word.STUCK, str(stall["what"]), late
    if quiet:
        return Word.STUCK, "; ".join(f"no heartbeat of {b.name} for {newest - b.time:.0f} s" for b in quiet[:4]), late
    if over:
        return Word.STUCK, f"{len(over)} of {len(beats)} ranks made no progress within their limit", late or over
    if missing:
        return Word.MOVES, f"{len(missing)} of {beats[0].ranks} ranks have not started: rank {missing[0]}", late
    return Word.MOVES, "all ranks make progress", late


def _idle(beat: Heartbeat, newest: float) -> float:
    """Seconds without progress, including those since the heartbeat."""
    return beat.idle_s + (newest - beat.time)


def lines(health: Health) -> list[str]:
    """The lines that `mrigan health` prints."""
    beats, late = health.beats, {beat.rank for beat in health.late}
    text = [f"{health.word}: {health.why}", ""]
    if not beats:
        return text[:1]
    hosts = len({beat.host for beat in beats})
    text.append(
        f"step {health.step:,} of {beats[0].steps:,}; {len(beats)} of {beats[0].ranks} ranks on {hosts} "
        f"host{'s' if hosts > 1 else ''}; the newest heartbeat is {health.age:.0f} s old"
    )
    newest = max(beat.time for beat in beats)
    text.append(
        f"{'':8}{'rank':>5}  {'host':<16}{'pid':>8}{'step':>10}  {'phase':<11}{'idle':>8}{'limit':>8}{'written':>9}"
    )
    order = sorted(beats, key=lambda beat: (beat.rank not in late, beat.step, _phase(beat), beat.rank))
    for beat in order[: max(MAX_SHOWN, len(late))]:
        mark = "behind" if beat.rank in late else ""
        limit = f"{beat.limit_s:.0f} s" if beat.limit_s else "none"
        text.append(
            f"{mark:<8}{beat.rank:>5}  {beat.host:<16}{beat.pid:>8}{beat.step:>10,}  {beat.phase:<11}"
            f"{_idle(beat, newest):>6.0f} s{limit:>8}{newest - beat.time:>7.0f} s"
        )
    if (more := len(order) - max(MAX_SHOWN, len(late))) > 0:
        text.append(f"{'':8}and {more} more ranks, which are further (--json lists all)")
    if health.evidence:
        text += ["", "files with more information:", *(f"  {path}" for path in health.evidence[:MAX_SHOWN])]
    if health.cause is not None:
        text += ["", str(health.cause), *(f"  {line}" for line in health.cause.traceback.splitlines()[-12:])]
    return text


def _phase(beat: Heartbeat) -> int:
    return PHASES.index(beat.phase) if beat.phase in PHASES else len(PHASES)


def _status(run: Path) -> dict[str, Any]:
    if (run / NAME).exists():
        return read_status(run)
    if (run / "health").is_dir():  # it has just started
        return {}
    raise InputError("the folder is not a run", where=run, fix="give the run.dir of a training")

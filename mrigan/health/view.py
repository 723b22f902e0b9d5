"""`mrigan health RUN_DIR`: what the heartbeats, and what else the ranks have left, say about a run."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mrigan.errors import InputError
from mrigan.health.evidence import FLIGHT, STACKS
from mrigan.health.failure import Failure, first_failure, gone, read_failures, read_stall
from mrigan.health.heartbeat import ENDED, PHASES, SILENT, Heartbeat, behind, read_heartbeats, silent
from mrigan.health.status import NAME, read_status

SHOWN = 16  # ranks, of those that go on
AWAY_S = 60.0  # of silence of all ranks: more than clocks of two machines differ


class Word(StrEnum):
    """How a run is."""

    MOVES = "moves"
    STUCK = "stuck"  # a rank does not go on within its limit, or has stopped writing
    SILENT = "silent"  # no rank writes any more, and none has said why: killed
    HUNG = "hung"  # and was ended by its watchdog
    FAILED = "failed"
    STOPPED = "stopped"
    FINISHED = "finished"
    NOT_YET = "not started"  # no heartbeat yet


BAD = (Word.STUCK, Word.SILENT, Word.HUNG, Word.FAILED)


@dataclass(frozen=True)
class Health:
    """How a run is, as far as its folder tells.

    Attributes:
        why: a sentence.
        age: seconds since the newest heartbeat, by this machine's clock; None = there is none.
        beats: by rank. late: those that the others wait for.
        missing: ranks without a heartbeat.
        cause: the first error of all ranks.
        evidence: files to look into.
    """

    run: Path
    word: Word
    why: str
    step: int
    age: float | None
    beats: list[Heartbeat]
    late: list[Heartbeat]
    missing: list[int]
    cause: Failure | None
    evidence: list[Path]

    @property
    def bad(self) -> bool:
        """Whether somebody should look."""
        return self.word in BAD

    def data(self) -> dict[str, Any]:
        """JSON."""
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
    """Read a run folder.

    Args:
        now: the time, seconds since 1970; None = now.

    Raises:
        InputError: the folder holds no run.
    """
    status = _status(run)
    folder = run / "health"
    beats, cause = read_heartbeats(folder), first_failure(folder)
    missing = sorted(set(range(beats[0].ranks)) - {beat.rank for beat in beats}) if beats else []
    age = round((time.time() if now is None else now) - max(beat.time for beat in beats), 1) if beats else None
    dead = gone(beats, read_failures(folder))
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
    cause: Failure | None,
    dead: list[Heartbeat],
    stall: dict[str, Any],
) -> tuple[Word, str, list[Heartbeat]]:
    state, error = status.get("state"), status.get("error")
    alive = age is not None and age < AWAY_S and any(beat.phase != ENDED for beat in beats)
    begun_again = alive and cause is None and not stall  # and has not yet replaced the word of the start before
    if state in ("finished", "stopped") and not begun_again:
        return Word(state), error or f"after step {status.get('step')}", []
    if state in ("failed", "hung") and not begun_again:
        return Word(state), str(error), []
    if age is None:
        return Word.NOT_YET, "no rank has written a heartbeat", []
    if cause is not None:
        return Word.FAILED, str(cause), []
    if dead:
        return Word.SILENT, "; ".join(f"{b.name} died without a word at {b.place}: killed?" for b in dead[:4]), dead
    if all(beat.phase == ENDED for beat in beats) or age > max(AWAY_S, 2 * SILENT * beats[0].every_s):
        return Word.SILENT, f"no rank has written for {age:.0f} s, and none has said why: killed?", []
    newest = max(beat.time for beat in beats)
    late, quiet = behind(beats), silent(beats)
    over = [beat for beat in beats if beat.limit_s and _idle(beat, newest) > beat.limit_s]
    if "what" in stall and (over or quiet):
        return Word.STUCK, str(stall["what"]), late
    if quiet:
        return Word.STUCK, "; ".join(f"{b.name} has not written for {newest - b.time:.0f} s" for b in quiet[:4]), late
    if over:
        return Word.STUCK, f"{len(over)} of {len(beats)} ranks have not gone on within their limit", late or over
    if missing:
        return Word.MOVES, f"{len(missing)} of {beats[0].ranks} ranks have not begun: rank {missing[0]}", late
    return Word.MOVES, "every rank goes on", late


def _idle(beat: Heartbeat, newest: float) -> float:
    """Seconds without going on, those since it has written included."""
    return beat.idle_s + (newest - beat.time)


def lines(health: Health) -> list[str]:
    """For people."""
    beats, late = health.beats, {beat.rank for beat in health.late}
    told = [f"{health.word}: {health.why}", ""]
    if not beats:
        return told[:1]
    hosts = len({beat.host for beat in beats})
    told.append(
        f"step {health.step:,} of {beats[0].steps:,}; {len(beats)} of {beats[0].ranks} ranks on {hosts} "
        f"host{'s' if hosts > 1 else ''}; the newest heartbeat is {health.age:.0f} s old"
    )
    newest = max(beat.time for beat in beats)
    told.append(
        f"{'':8}{'rank':>5}  {'host':<16}{'pid':>8}{'step':>10}  {'phase':<11}{'for':>8}{'limit':>8}{'written':>9}"
    )
    order = sorted(beats, key=lambda beat: (beat.rank not in late, beat.step, _phase(beat), beat.rank))
    for beat in order[: max(SHOWN, len(late))]:
        mark = "behind" if beat.rank in late else ""
        limit = f"{beat.limit_s:.0f} s" if beat.limit_s else "none"
        told.append(
            f"{mark:<8}{beat.rank:>5}  {beat.host:<16}{beat.pid:>8}{beat.step:>10,}  {beat.phase:<11}"
            f"{_idle(beat, newest):>6.0f} s{limit:>8}{newest - beat.time:>7.0f} s"
        )
    if len(order) > max(SHOWN, len(late)):
        told.append(
            f"{'':8}and {len(order) - max(SHOWN, len(late))} more ranks, which are further (--json has them all)"
        )
    if health.evidence:
        told += ["", "left for you:", *(f"  {path}" for path in health.evidence[:SHOWN])]
    if health.cause is not None:
        told += ["", str(health.cause), *(f"  {line}" for line in health.cause.traceback.splitlines()[-12:])]
    return told


def _phase(beat: Heartbeat) -> int:
    return PHASES.index(beat.phase) if beat.phase in PHASES else len(PHASES)


def _status(run: Path) -> dict[str, Any]:
    if (run / NAME).exists():
        return read_status(run)
    if (run / "health").is_dir():  # it has just begun
        return {}
    raise InputError("no run is here", where=run, fix="give the folder that was run.dir=… of a training")

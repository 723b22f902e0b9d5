"""The heartbeat of each rank, a small file that is replaced every few seconds, and how to compare all heartbeats.

Clocks: a rank measures its idle time (`idle_s`) with its own clock. Times of ranks are compared only with each other,
with a tolerance of some heartbeats, and never with the clock of a file server.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mrigan.files import process_space, temporary_path
from mrigan.health.records import read_record

EVERY_S = 10.0  # between two heartbeats: 512 ranks write 51 small files a second
MAX_MISSED = 3  # heartbeats
# The phases of a step, in their order on every rank; "waiting": for the other ranks, after a long phase.
PHASES = ("start", "data", "compute", "log", "validation", "checkpoint", "waiting", "finish")
ENDED = "ended"


@dataclass(frozen=True)
class Heartbeat:
    """A rank's last sign of life.

    Attributes:
        ranks: the number of ranks of the job.
        space: the namespace of the pid; see `process_space`.
        step: completed optimizer steps, of `steps`.
        phase: one of `PHASES`, or "ended".
        idle_s: seconds without progress when this was written.
        limit_s: seconds without progress after which the rank counts as hung; 0 = not watched.
        every_s: seconds between two heartbeats.
        time: when this was written, in seconds since 1970 by the rank's clock.
    """

    rank: int
    ranks: int
    step: int
    steps: int
    phase: str
    idle_s: float
    limit_s: float
    every_s: float = EVERY_S
    host: str = field(default_factory=socket.gethostname)
    space: str = field(default_factory=process_space)
    pid: int = field(default_factory=os.getpid)
    time: float = field(default_factory=time.time)

    @property
    def name(self) -> str:
        """For example "rank 3 on node-b (pid 4711)"."""
        return f"rank {self.rank} on {self.host} (pid {self.pid})"

    @property
    def place(self) -> str:
        """For example "step 1230 (data)"."""
        return f"step {self.step} ({self.phase})"


def rank_file(folder: Path, rank: int, suffix: str = ".json") -> Path:
    """A rank's file in the health folder."""
    return folder / f"rank-{rank:05d}{suffix}"


def write_heartbeat(folder: Path, beat: Heartbeat) -> None:
    """Replace a rank's file atomically; not synced, because it is useless after a crash of the machine."""
    path = rank_file(folder, beat.rank)
    beside = temporary_path(path)
    try:
        beside.write_text(json.dumps(asdict(beat)) + "\n")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_heartbeats(folder: Path) -> list[Heartbeat]:
    """All heartbeats, sorted by rank."""
    paths = [path for path in folder.glob("rank-*.json") if path.name.count(".") == 1]  # not .error.json, .flight.json
    beats = [beat for path in paths if (beat := read_record(Heartbeat, path)) is not None]
    return sorted(beats, key=lambda beat: beat.rank)


def silent_ranks(beats: Sequence[Heartbeat]) -> list[Heartbeat]:
    """Ranks that stopped writing while others still write: stopped, dead, or on a lost node."""
    newest = max((beat.time for beat in beats), default=0.0)
    return [beat for beat in beats if beat.phase != ENDED and newest - beat.time > MAX_MISSED * beat.every_s]


def lagging_ranks(beats: Sequence[Heartbeat]) -> list[Heartbeat]:
    """The ranks that the others wait for: silent ranks, else those at the earliest place; [] if all are equal."""
    left = [beat for beat in beats if beat.phase != ENDED]
    places = {beat.rank: (beat.step, PHASES.index(beat.phase) if beat.phase in PHASES else 0) for beat in left}
    if quiet := silent_ranks(beats):
        return sorted(quiet, key=lambda beat: places[beat.rank])
    earliest = min(places.values(), default=None)
    late = [beat for beat in left if places[beat.rank] == earliest]
    return late if len(late) < len(left) else []

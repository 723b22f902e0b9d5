"""A small file a rank that says where it is, replaced every few seconds, and what can be read from all of them.

Clocks: a rank tells by its own clock how long it has stood still (`idle_s`). Times of different ranks are compared with
one another only, with a tolerance of some heartbeats, and never with a file server's clock.
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
SILENT = 3  # heartbeats that a rank may miss
# Of one step, in the order in which every rank goes through them; "waiting": for the others, after a long phase.
PHASES = ("start", "data", "compute", "log", "validation", "checkpoint", "waiting", "finish")
ENDED = "ended"


@dataclass(frozen=True)
class Heartbeat:
    """A rank's last sign of life.

    Attributes:
        ranks: of the whole job.
        space: of which processes the pid is one; see `process_space`.
        step: optimizer steps done, of `steps`.
        phase: one of `PHASES`, or "ended".
        idle_s: seconds in which the rank had not gone on when it wrote this.
        limit_s: after so many it counts as hung; 0 = not watched.
        every_s: seconds between two heartbeats.
        time: when this was written, seconds since 1970 by the rank's clock.
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
        """For people: "rank 3 on node-b (pid 4711)"."""
        return f"rank {self.rank} on {self.host} (pid {self.pid})"

    @property
    def place(self) -> str:
        """For people: "step 1230 (data)"."""
        return f"step {self.step} ({self.phase})"


def rank_file(folder: Path, rank: int, suffix: str = ".json") -> Path:
    """A rank's file in the health folder."""
    return folder / f"rank-{rank:05d}{suffix}"


def write_heartbeat(folder: Path, beat: Heartbeat) -> None:
    """Replace a rank's file; whole or not at all for readers, and not synced: it is worth nothing after a crash."""
    path = rank_file(folder, beat.rank)
    beside = temporary_path(path)
    try:
        beside.write_text(json.dumps(asdict(beat)) + "\n")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_heartbeats(folder: Path) -> list[Heartbeat]:
    """Those that are there, by rank."""
    paths = [path for path in folder.glob("rank-*.json") if path.name.count(".") == 1]  # no error, no recorder's dump
    beats = [beat for path in paths if (beat := read_record(Heartbeat, path)) is not None]
    return sorted(beats, key=lambda beat: beat.rank)


def silent(beats: Sequence[Heartbeat]) -> list[Heartbeat]:
    """Ranks that have stopped writing while others go on to do so: stopped, dead, or their node is gone."""
    newest = max((beat.time for beat in beats), default=0.0)
    return [beat for beat in beats if beat.phase != ENDED and newest - beat.time > SILENT * beat.every_s]


def behind(beats: Sequence[Heartbeat]) -> list[Heartbeat]:
    """The ranks that the others wait for: silent ones, else those at the earliest place; [] where all are alike."""
    left = [beat for beat in beats if beat.phase != ENDED]
    places = {beat.rank: (beat.step, PHASES.index(beat.phase) if beat.phase in PHASES else 0) for beat in left}
    if quiet := silent(beats):
        return sorted(quiet, key=lambda beat: places[beat.rank])
    earliest = min(places.values(), default=None)
    late = [beat for beat in left if places[beat.rank] == earliest]
    return late if len(late) < len(left) else []

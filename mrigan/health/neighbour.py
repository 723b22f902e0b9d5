"""Check that the next rank still writes its heartbeat. Each rank checks one other, so all ranks are checked.

Checkpoints and evaluations may take long. But ranks must not wait that long for a rank that is stopped or on a lost
node, which writes no heartbeat.
"""

from __future__ import annotations

from pathlib import Path

from mrigan.health.heartbeat import ENDED, Heartbeat, rank_file
from mrigan.health.records import read_record


class Neighbour:
    """The rank after this one; after the last rank, the first.

    If the ranks of a node die together, the rank before the first of them is alive. Silence is measured with this
    rank's clock, because the clocks of two machines may differ.
    """

    def __init__(self, folder: Path, rank: int, ranks: int) -> None:
        self._path = rank_file(folder, (rank + 1) % ranks) if ranks > 1 else None
        self._written = 0.0
        self._reported = False
        self.silence = 0.0  # seconds, without the time when this process was stopped

    def look(self, ran: float) -> None:
        """Check for a newer heartbeat; this process ran for `ran` seconds since the last check."""
        beat = read_record(Heartbeat, self._path) if self._path else None
        if beat is None or beat.phase == ENDED or beat.time != self._written:
            self._written = beat.time if beat else 0.0
            self.silence, self._reported = 0.0, False
        else:
            self.silence += ran

    def suspected(self, limit: float) -> bool:
        """Whether the neighbour has been silent for more than `limit` seconds; true only once per silence."""
        if self._reported or self.silence <= limit:
            return False
        self._reported = True
        return True

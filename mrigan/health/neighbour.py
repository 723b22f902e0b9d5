"""Whether the next rank still writes its heartbeat: each rank looks at one other, which together is all of them.

A rank that is stopped or whose node is gone says nothing. Those who wait for it in a checkpoint or an evaluation, where
each rank may take long, must not wait that long for one that is silent.
"""

from __future__ import annotations

from pathlib import Path

from mrigan.health.heartbeat import ENDED, Heartbeat, rank_file
from mrigan.health.records import read_record


class Neighbour:
    """The rank after this one, the first after the last.

    Of ranks that die together (a node), the first has a neighbour before it that lives. Silence is told by this rank's
    own clock: those of two machines may differ.
    """

    def __init__(self, folder: Path, rank: int, ranks: int) -> None:
        self._path = rank_file(folder, (rank + 1) % ranks) if ranks > 1 else None
        self._written = 0.0
        self._reported = False
        self.silence = 0.0  # seconds, as far as this rank was running itself

    def look(self, ran: float) -> None:
        """See whether there is a newer heartbeat; this process ran for `ran` seconds since the look before."""
        beat = read_record(Heartbeat, self._path) if self._path else None
        if beat is None or beat.phase == ENDED or beat.time != self._written:
            self._written = beat.time if beat else 0.0
            self.silence, self._reported = 0.0, False
        else:
            self.silence += ran

    def suspected(self, limit: float) -> bool:
        """Whether it has been silent for longer than `limit` seconds; true once for each silence."""
        if self._reported or self.silence <= limit:
            return False
        self._reported = True
        return True

"""The rank of a packet in presentation order, before it is decoded."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any

from mrigan.video.numbering import Place


class LookAhead:
    """The rank of a packet in presentation order before it is decoded, by reading a few packets ahead.

    Decoding times rise, and no picture is shown before it is decoded: so once a packet with decoding time t is seen,
    the order of all presentation times up to t is settled. Where a file breaks these rules, no more ranks are given.
    """

    LIMIT = 64  # packets; far beyond the reordering of any codec

    def __init__(self) -> None:
        self._waiting: deque[tuple[Any, Place | None]] = deque()
        self._unranked: list[Place] = []
        self._ranks: dict[Place, int] = {}
        self._count = 0
        self._settled: Place | None = None
        self._sound = True

    def missing(self, places: list[Place]) -> None:
        """Frames that the file lacks, and that are counted all the same."""
        for place in places:
            heapq.heappush(self._unranked, place)

    def take(self, packet: Any, place: Place | None) -> list[tuple[Any, Place | None, int | None]]:
        """Add the next packet of the file; returns those that can be decoded now: (packet, place, rank or None)."""
        self._waiting.append((packet, place))
        if place is not None:
            if self._settled is not None and place <= self._settled:
                self._sound = False
            heapq.heappush(self._unranked, place)
        end = not packet.size
        while self._unranked and (end or self._before(packet, place)):
            self._settled = heapq.heappop(self._unranked)
            self._ranks[self._settled] = self._count
            self._count += 1
        self._sound &= len(self._waiting) <= self.LIMIT
        ready = []
        while self._waiting and (end or not self._sound or self._is_ranked(self._waiting[0][1])):
            first, where = self._waiting.popleft()
            rank = self._ranks.pop(where, None) if where is not None and self._sound else None
            ready.append((first, where, rank))
        return ready

    def _before(self, packet: Any, place: Place | None) -> bool:
        """Whether the earliest place that is not ranked comes before all that is still to be read."""
        return place is not None and packet.dts is not None and self._unranked[0] <= (place[0], packet.dts)

    def _is_ranked(self, place: Place | None) -> bool:
        return place is None or place in self._ranks

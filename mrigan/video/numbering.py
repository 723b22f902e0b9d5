"""The index and the time of a decoded frame, exact past damage and reordering (what they mean: `frames.py`)."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any

RESTART = 0.5  # seconds; a clock that jumps back further starts anew, one that jumps back less is only inexact

Place = tuple[int, int]


class Numbering:
    """Presentation order from packets.

    A packet's place is (part, presentation time): joined recordings start their clock anew in each part.
    """

    def __init__(self, presentation_times: bool, codec: str) -> None:
        self.presentation_times = presentation_times
        self.codec = codec
        self.next = 0
        self.lost = 0
        self.leading = 0  # packets before the first frame
        self.latest: Place | None = None
        self._refusals = 0
        self._part = 0
        self._clock: int | None = None
        self._pending: list[Place] = []  # heap of the places that are inside the decoder
        self._passed: deque[Place] = deque(maxlen=64)  # places given up
        self._optional: set[Place] = set()

    @property
    def total(self) -> int:
        """Frames of the clip, once it is read to its end: those that came out, were lost, or were left out."""
        return self.next + (len(self._pending) if self.presentation_times else 0)

    def place(self, packet: Any) -> Place | None:
        """The place of the next packet of the file, None for one that shows no picture."""
        if packet.dts is not None:
            if self._clock is not None and (self._clock - packet.dts) * packet.time_base > RESTART:
                self._part += 1
            self._clock = packet.dts
        if not packet.size or packet.pts is None or packet.is_discard or _hidden(packet, self.codec):
            return None
        return self._part, packet.pts

    def sent(self, place: Place | None, optional: bool = False) -> None:
        """A packet goes into the decoder, which may leave its picture out if it is `optional`."""
        if place is None:
            return
        heapq.heappush(self._pending, place)
        self.latest = max(place, self.latest or place)
        if optional:
            self._optional.add(place)

    def refused(self, packet: Any) -> None:
        """The decoder raised an error for this packet: its frame is lost."""
        if self.presentation_times and packet.pts is not None:
            self._refusals += 1  # the gap is found when the next frame comes out
        elif packet.size:
            self.next += 1
            self.lost += 1
            if self._pending:
                heapq.heappop(self._pending)

    def number(self, picture: Any) -> tuple[int | None, int | None]:
        """Index and presentation time of a frame that came out of the decoder; no index if it came out too late."""
        pts = picture.pts
        if not self.presentation_times:
            pts = heapq.heappop(self._pending)[1] if self._pending else None  # right times, in decoding order
        elif pts is not None:
            place = min((p for p in self._pending if p[1] == pts), default=None)
            if place is not None:
                self._pass(place)
            elif any(p[1] == pts for p in self._passed):
                return None, pts  # after damage a decoder may lose the order: this frame was given up already
        index, self.next = self.next, self.next + 1
        return index, pts

    def _pass(self, place: tuple[int, int]) -> None:
        """Take `place` out, and give up what should have come before it."""
        passed = optional = 0
        while (first := heapq.heappop(self._pending)) != place:
            self._passed.append(first)
            passed += 1
            optional += first in self._optional
            self._optional.discard(first)
        self._optional.discard(place)
        # Packets before the first frame that gave no error are leading pictures of an open group: never shown.
        if self.next or self._refusals:
            self.next += passed
            self.lost += passed - optional
        else:
            self.leading = passed


class LookAhead:
    """Tells the rank of a packet in presentation order before it is decoded, by reading a few packets ahead.

    Decoding times rise, and no picture is shown before it is decoded: so once a packet with decoding time t is seen,
    the order of all presentation times up to t is settled. Where a file breaks these rules, no rank is told any more.
    """

    LIMIT = 64  # packets; far beyond the reordering of any codec

    def __init__(self) -> None:
        self._waiting: deque[tuple[Any, Place | None]] = deque()
        self._unranked: list[Place] = []
        self._ranks: dict[Place, int] = {}
        self._count = 0
        self._settled: Place | None = None
        self._sound = True

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
        while self._waiting and (end or not self._sound or self._told(self._waiting[0][1])):
            first, where = self._waiting.popleft()
            rank = self._ranks.pop(where, None) if where is not None and self._sound else None
            ready.append((first, where, rank))
        return ready

    def _before(self, packet: Any, place: Place | None) -> bool:
        """Whether the earliest place that is not ranked comes before all that is still to be read."""
        return place is not None and packet.dts is not None and self._unranked[0] <= (place[0], packet.dts)

    def _told(self, place: Place | None) -> bool:
        return place is None or place in self._ranks


def _hidden(packet: Any, codec: str) -> bool:
    """A VP8 packet that only updates a reference picture and is never shown (show_frame bit of the frame tag)."""
    return codec in {"vp8", "libvpx"} and not bytes(packet)[0] >> 4 & 1


class Clock:
    """Seconds since the first frame; runs on where a joined recording starts its clock anew."""

    def __init__(self, stream: Any) -> None:
        rate = stream.average_rate or stream.guessed_rate
        self.step = 1 / float(rate) if rate else 0.0
        self.base = stream.time_base
        self.seconds = 0.0
        self.zero: float | None = None

    def __call__(self, index: int, pts: int | None) -> float:
        if pts is None or self.base is None:
            self.seconds = index * self.step
            return self.seconds
        now = float(pts * self.base)
        if self.zero is None:
            self.zero = now
        elif now - self.zero < self.seconds:
            self.zero = now - self.seconds - self.step
        self.seconds = now - self.zero
        return self.seconds

    def reached(self, place: Place | None) -> float:
        """The time of the last packet, or of the last frame where that is later."""
        if place is None or self.base is None or self.zero is None:
            return self.seconds
        return max(self.seconds, float(place[1] * self.base) - self.zero)

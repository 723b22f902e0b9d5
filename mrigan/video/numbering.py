"""The index and the time of a decoded frame, exact past damage and reordering (what they mean: `frames.py`)."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any

RESTART = 0.5  # seconds; a clock that jumps back further starts anew, one that jumps back less is only inexact


class Numbering:
    """Presentation order from packets.

    A packet's place is (part, presentation time): joined recordings start their clock anew in each part.
    """

    def __init__(self, presentation_times: bool) -> None:
        self.presentation_times = presentation_times
        self.next = 0
        self.lost = 0
        self._refusals = 0
        self._part = 0
        self._clock: int | None = None
        self._pending: list[tuple[int, int]] = []  # heap of the places that are inside the decoder
        self._passed: deque[tuple[int, int]] = deque(maxlen=64)  # places given up

    def sent(self, packet: Any, codec: str) -> None:
        """A packet goes into the decoder."""
        if packet.dts is not None:
            if self._clock is not None and (self._clock - packet.dts) * packet.time_base > RESTART:
                self._part += 1
            self._clock = packet.dts
        if packet.size and packet.pts is not None and not packet.is_discard and not _hidden(packet, codec):
            heapq.heappush(self._pending, (self._part, packet.pts))

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
        passed = 0
        while (first := heapq.heappop(self._pending)) != place:
            self._passed.append(first)
            passed += 1
        # Packets before the first frame that gave no error are leading pictures of an open group: never shown.
        if self.next or self._refusals:
            self.next += passed
            self.lost += passed


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

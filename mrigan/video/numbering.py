"""The index and the time of a decoded frame, exact past damage and reordering (what they mean: `frames.py`)."""

from __future__ import annotations

import heapq
import statistics
from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

RESTART = 0.5  # seconds; a clock that jumps back further starts anew, one that jumps back less is only inexact
STEPS = 25  # packets whose distance in time tells how many are missing in a gap
MAX_MISSING = 10_000  # frames; a longer gap is another recording, or nonsense
FIELDS = {"h264", "mpeg2video", "vc1"}  # codecs that may code the two fields of a frame in two packets
B_TYPE = 3  # AVPictureType
STEADY = {"mpeg1video", "mpeg2video"}  # codecs of one frame rate
NOT_CODED = 19  # bytes of an MPEG-4 frame at most that says "as the one before"

Place = tuple[int, int]


class GivenUp(NamedTuple):
    """A place whose frame will not come any more; `lost`: it should have. `counts`: the frame has an index."""

    place: Place
    lost: bool
    counts: bool


class Numbering:
    """Presentation order from packets.

    A packet's place is (part, presentation time): joined recordings start their clock anew in each part.

    Args:
        index: where each packet lies in the file → its number, for a container without presentation times.

    Attributes:
        next: the index of the next frame.
        absent: frames whose packets the file lacks.
    """

    def __init__(self, presentation_times: bool, codec: str, index: Mapping[int, int] | None = None) -> None:
        self.presentation_times = presentation_times
        self.codec = codec
        self._given_up: list[GivenUp] = []
        self._lost_numbers: list[int] = []
        self._index = index or {}
        self._read = 0  # packets, of a container with an index
        self._shifted = False
        self._steps: deque[int] = deque(maxlen=STEPS)
        self._recent: deque[int] = deque(maxlen=STEPS)  # presentation times of the packets that were read
        self._unseen: set[int] = set()  # packets whose frames have not come, where the file has no times
        self._missing: deque[tuple[int, int]] = deque()  # (number of the packet after a gap, frames missing)
        self._fields: set[Place] = set()  # places that may be a frame's second field
        self._sent_last: Place | None = None
        self._interlaced_last: Place | None = None
        self._after: dict[Place, Place] = {}
        self.next = 0
        self.absent = 0
        self.leading = 0  # packets before the first frame
        self.first_read: Place | None = None  # the earliest place of all packets
        self.last_read: Place | None = None  # the latest
        self._refusals = 0
        self._part = 0
        self._clock: int | None = None
        self._pending: list[Place] = []  # heap of the places that are inside the decoder
        self._passed: deque[Place] = deque(maxlen=64)  # places given up
        self._optional: set[Place] = set()

    def end(self) -> int:
        """Count what is still in the decoder at the file's end; returns how many frames the clip has."""
        if self.presentation_times:
            while self._pending:
                self._give_up(heapq.heappop(self._pending), shown=True)
        else:
            self.next += len(self._unseen)
            self._lost_numbers += sorted(self._unseen)
        return self.next

    def place(self, packet: Any) -> Place | None:
        """The place of the next packet of the file, None for one that shows no picture."""
        if packet.dts is not None:
            step = packet.dts - self._clock if self._clock is not None else 0
            if step > 0:
                self._steps.append(step)
            elif -step * packet.time_base > RESTART:
                self._part += 1
                self._recent.clear()
            self._clock = packet.dts
        if not packet.size or packet.pts is None or packet.is_discard or is_hidden(packet, self.codec):
            return None
        self._recent.append(packet.pts)
        place = self._part, packet.pts
        self.last_read = max(place, self.last_read or place)
        if self.first_read is None or place < self.first_read:
            self.first_read = place
        return place

    def missing_before(self, packet: Any, number: int, gap: bool) -> tuple[int, list[Place]]:
        """How many frames are missing before a packet, and the places given to them; to be called before its `place`.

        Args:
            number: of the packet. gap: something is missing before it; how much, the clock tells.
        """
        if self._index and packet.size:
            expected = max(self._index.get(packet.pos, self._read), self._read)
            count = expected - self._read
            if count:
                self._missing.append((number, count))
                self.absent += count
            self._read = expected + 1
            return count, []
        gap |= self.codec in STEADY and not packet.is_keyframe
        if not gap or self._clock is None or packet.dts is None or not self._steps:
            return 0, []
        step = statistics.median_low(self._steps)
        count = int((packet.dts - self._clock) / step + 0.3) - 1  # a frame that is shown half as long again is no gap
        if not 0 < count <= MAX_MISSING:
            return 0, []
        places = [(self._part, time) for time in self._times_missing(packet.dts, step, count)]
        self.absent += count
        for place in places:
            heapq.heappush(self._pending, place)
        self._clock = packet.dts - step  # the next step is an ordinary one
        return count, places

    def certain_until(self) -> int | None:
        """The presentation time up to which no frame is missing at the end of a file that is cut off; None = all."""
        if not self.presentation_times or not self._steps:
            return None
        assert self._clock is not None
        step = statistics.median_low(self._steps)
        times = sorted(time for time in self._recent if time >= self._clock - step)  # all before it was read
        return next((a for a, b in pairwise(times) if b - a > 1.5 * step), None)

    def _times_missing(self, now: int, step: int, count: int) -> list[int]:
        """Presentation times of `count` frames that were decoded before `now` and are missing.

        What lies before `now` on the grid of the times, and was not there, is missing for sure; the others come later.
        """
        assert self._clock is not None
        latest = max(self._recent, default=now)
        time = latest - max(latest - self._clock - 1, 0) // step * step
        found: list[int] = []
        while len(found) < count and time < now - step // 2:
            if not any(abs(time - other) < step // 2 for other in self._recent):
                found.append(time)
            time += step
        later = max(latest, now)
        return found + [later + step * i for i in range(count - len(found))]

    def sent(self, place: Place | None, number: int, optional: bool = False) -> None:
        """A packet goes into the decoder, which may leave its picture out if it is `optional`."""
        if not self.presentation_times and number >= 0:
            self._unseen.add(number)
        if place is None:
            return
        heapq.heappush(self._pending, place)
        if optional:
            self._optional.add(place)
        if self.codec in FIELDS:
            if self._sent_last is not None:
                self._after[self._sent_last] = place
                if self._sent_last == self._interlaced_last:
                    self._fields.add(place)
            self._sent_last = place

    def refused(self, packet: Any, place: Place | None, number: int) -> None:
        """The decoder raised an error for this packet: its frame is lost."""
        self._unseen.discard(number)
        if self.presentation_times and packet.pts is not None:
            self._refusals += place is not None  # the gap is found when the next frame comes out
        elif packet.size:
            self.next += 1
            if self._pending:
                heapq.heappop(self._pending)

    def doubt(self, hole: bool) -> None:
        """A packet that goes into the decoder has a hole: if it gives no frame, that frame is lost."""
        self._refusals += hole

    def take_lost(self) -> list[int]:
        """Packets of a file without times whose frames will not come any more, since the last call."""
        lost, self._lost_numbers = self._lost_numbers, []
        return lost

    def take_passed(self) -> list[GivenUp]:
        """What will not come any more, since the last call."""
        passed, self._given_up = self._given_up, []
        return passed

    def number(self, picture: Any, number: int) -> tuple[int | None, int | None]:
        """Index and presentation time of a frame that came out of the decoder; no index if it came out too late.

        Args:
            number: of its packet.
        """
        pts = picture.pts
        if not self.presentation_times:
            while self._missing and self._missing[0][0] <= number:
                count = self._missing.popleft()[1]
                self.next += count
                self._shifted = True
            self._count_unseen(picture, number)
            pts = heapq.heappop(self._pending)[1] if self._pending else None  # right times, in decoding order
            pts = None if self._shifted else pts  # the demuxer counts packets, and knows of no gap
        elif pts is not None:
            if self._pending and self._pending[0][1] == pts:  # mostly
                place: Place | None = self._pending[0]
            else:
                place = min((p for p in self._pending if p[1] == pts), default=None)
            if place is not None:
                self._pass(place)
                if self.codec in FIELDS:
                    self._note_fields(place, picture.interlaced_frame)
            elif any(p[1] == pts for p in self._passed):
                return None, pts  # after damage a decoder may lose the order: this frame was given up already
        index, self.next = self.next, self.next + 1
        return index, pts

    def _count_unseen(self, picture: Any, number: int) -> None:
        """A frame comes after all that were decoded before it, unless it is a B frame: what is not there is lost."""
        self._unseen.discard(number)
        if picture.pict_type != B_TYPE:
            lost = {earlier for earlier in self._unseen if earlier < number}
            self._unseen -= lost
            self._lost_numbers += sorted(lost)
            self.next += len(lost)

    def _pass(self, place: Place) -> None:
        """Take `place` out, and give up what should have come before it."""
        # Packets before the first frame that gave no error are leading pictures of an open group: never shown.
        shown = bool(self.next or self._refusals)
        while (first := heapq.heappop(self._pending)) != place:
            self._give_up(first, shown)
        self._optional.discard(place)

    def _give_up(self, place: Place, shown: bool) -> None:
        self._passed.append(place)
        optional, second = place in self._optional, place in self._fields
        self._optional.discard(place)
        self._fields.discard(place)
        counts = shown and not second
        self._given_up.append(GivenUp(place, counts and not optional, counts))
        self.next += counts
        self.leading += not shown and not second

    def _note_fields(self, place: Place, interlaced: bool) -> None:
        """After the packet of an interlaced frame may come one that holds its second field and gives no frame."""
        self._fields.discard(place)
        after = self._after.pop(place, None)
        if interlaced and after is not None:
            self._fields.add(after)
        self._interlaced_last = place if interlaced else None


def is_hidden(packet: Any, codec: str) -> bool:
    """A packet that shows no picture.

    VP8: one that only updates a reference picture (show_frame bit of the frame tag). MPEG-4: a frame that is not coded,
    as encoders write beside packed B frames, and instead of a repeated frame.
    """
    if codec in {"vp8", "libvpx"}:
        return not memoryview(packet)[0] >> 4 & 1
    return codec == "mpeg4" and packet.size <= NOT_CODED and bytes(packet).startswith(b"\0\0\1\xb6")


class Clock:
    """Seconds since the first frame; runs on where a joined recording starts its clock anew."""

    def __init__(self, stream: Any) -> None:
        rate = stream.average_rate or stream.guessed_rate
        self.step = 1 / float(rate) if rate else 0.0
        base = stream.time_base
        self.base = (base.numerator, base.denominator) if base else None
        self.seconds = 0.0
        self.zero: float | None = None

    def __call__(self, index: int, pts: int | None) -> float:
        if pts is None or self.base is None:
            self.seconds = index * self.step
            return self.seconds
        now = self._seconds(pts)
        if self.zero is None:
            self.zero = now
        elif now - self.zero < self.seconds:
            self.zero = now - self.seconds - self.step
        self.seconds = now - self.zero
        return self.seconds

    def reached(self, first: Place | None, last: Place | None) -> float:
        """Seconds from the first packet to the last one, or to the last frame where that is later.

        A recording may begin in the middle of a group, with packets that show nothing.
        """
        if first is None or last is None or self.base is None or self.zero is None:
            return self.seconds
        before = max(self.zero - self._seconds(first[1]), 0.0) if first[0] == 0 else 0.0
        return max(self.seconds, self._seconds(last[1]) - self.zero) + before

    def _seconds(self, pts: int) -> float:
        assert self.base is not None
        return pts * self.base[0] / self.base[1]

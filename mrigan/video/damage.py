"""Which frames of a damaged clip can be trusted: those that no damage reaches.

A decoder conceals what it cannot read: it fills the place from nearby and goes on. It marks that frame as corrupt, but
not the frames that it predicts from it. So a frame is sound only if nothing was damaged or lost between the last key
frame before it, in the order of decoding, and itself. Frames that are decoded after a key frame and shown before it
(open groups) are predicted from the group before, too.

Signs of damage: the decoder's mark, or its error; the demuxer's mark (lost packets of MPEG-TS); a packet that gives no
frame; and a long run of zero bytes, which no compressed picture holds, in a packet or between two of them. VP8, VP9 and
AV1 decode any bytes: where a few of them are wrong, nobody can tell.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mrigan.video.numbering import GivenUp, Place

STRIDE = 64  # bytes between two that are looked at; entropy coding never gives twice as many zeros in a row
HOLE = 4096  # bytes of zeros between two packets: no container fills up so much with them
# Not H.264 and MPEG-2, which may be filled up with zeros, and whose decoders mark such a frame by themselves.
NO_ZEROS = {"hevc", "vp8", "vp9", "av1", "libdav1d", "libvpx", "mpeg4", "flv", "h263"}
B_ALONE = {"mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3", "flv", "h263"}  # nothing is predicted from a B frame
SETTLED = 2  # packets after a demuxer's mark, which may lie so far before what is missing
ALONE = {0, 1, 5, 7}  # AVPictureType: unknown, I, SI, BI
B_TYPE = 3
FORGET = 64  # packets after which one that was judged is forgotten; far beyond the reordering of any codec


def has_hole(codec: str, packet: Any) -> bool:
    """Whether a packet holds a run of zeros that its codec does not write."""
    if codec not in NO_ZEROS and codec != "mjpeg":
        return False
    if b"\0\0" not in bytes(memoryview(packet)[::STRIDE]):
        return False
    data = bytes(packet)
    if codec == "mjpeg":
        picture = data.rstrip(b"\0")  # cameras may fill up what follows the end marker
        return bytes(2 * STRIDE) in picture or not picture.endswith(b"\xff\xd9")
    return bytes(STRIDE) in data


class FileHoles:
    """Finds runs of zeros between the packets of a file. A demuxer without an index skips them without a word."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._end: int | None = None  # where the last packet ends

    def between(self, packet: Any, after: Any) -> bool:
        """Whether a hole lies between a packet and the one after it in the file."""
        if packet.pos is not None and packet.pos >= 0:
            self._end = packet.pos + packet.size
        if self._end is None or not after.size or after.pos is None or after.pos - self._end <= HOLE:
            return False
        return self._zeros(self._end, after.pos) > 0

    def at_end(self) -> int:
        """How many bytes of zeros end the file, after the last packet; 0 if there are fewer than `HOLE`."""
        return 0 if self._end is None else self._zeros(self._end, os.path.getsize(self.where))

    def _zeros(self, start: int, end: int) -> int:
        """Bytes from the first run of `HOLE` zeros in a part of the file to the part's end."""
        kept = b""
        with open(self.where, "rb") as file:
            file.seek(start)
            while data := file.read(min(1 << 20, end - start)):
                found = (kept + data).find(bytes(HOLE))
                if found >= 0:
                    return end - (start - len(kept) + found)
                start += len(data)
                kept = data[-HOLE:]
        return 0


@dataclass(slots=True)
class _Sent:
    """A packet that went into the decoder.

    Attributes:
        place: of its frame, None where it shows nothing or the file has no times.
        key: decoding can begin here. predicted: its frame is not decodable alone.
        gap: frames are missing before it.
        marked: the demuxer calls it damaged. damaged: it is, or its frame never came.
        leaf: nothing is predicted from its frame.
        settled: all is known about it that ever will be. counts: its frame has an index.
        sound: of its frame, None until it is judged.
    """

    place: Place | None
    key: bool
    gap: bool
    marked: bool
    damaged: bool
    settled: bool
    counts: bool
    leaf: bool = False
    predicted: bool = False
    sound: bool | None = None


class Soundness:
    """Follows the packets of a clip in the order of decoding, and tells which frames are sound.

    A packet is known by the number that `sent` gives.

    Attributes:
        bad: frames that are not sound, those among them that were left out on purpose.
    """

    def __init__(self, codec: str) -> None:
        self.bad = 0
        self._leaf_b = codec in B_ALONE
        self._sent: dict[int, _Sent] = {}
        self._numbers: dict[Place, int] = {}
        self._count = 0
        self._next = 0  # the first packet that is not judged yet
        self._tainted = False
        self._refreshes = 0
        self._clean_from: Place | None = None  # what is shown before it belongs to a damaged group

    def sent(self, packet: Any, place: Place | None, *, silent: bool, hole: bool, gap: bool) -> int:
        """A packet goes into the decoder.

        Args:
            silent: it shows no picture. hole: a part of it is zeros. gap: frames are missing before it.
        """
        number, self._count = self._count, self._count + 1
        for back in range(1, SETTLED + 1):
            before = self._sent.get(number - back)
            if before is not None and before.marked and (packet.is_keyframe or back == SETTLED):
                # Joined recordings start their counters anew: then a key frame follows, and no packet is missing.
                before.marked, before.damaged = False, before.damaged or not packet.is_keyframe
        self._sent[number] = _Sent(
            place=place,
            key=packet.is_keyframe,
            gap=gap,
            marked=packet.is_corrupt,
            damaged=hole,
            settled=silent,
            counts=not silent,
        )
        if place is not None:
            self._numbers[place] = number
        return number

    def refused(self, number: int) -> None:
        """The decoder raised an error for a packet, or its frame will not come any more."""
        sent = self._sent.get(number)
        if sent is not None:
            sent.damaged = sent.settled = True

    def came(self, number: int, picture: Any) -> None:
        """A packet's frame came out."""
        sent = self._sent.get(number)
        if sent is None:
            return
        sent.key |= picture.key_frame
        sent.predicted = picture.pict_type not in ALONE
        sent.leaf |= self._leaf_b and picture.pict_type == B_TYPE
        sent.damaged |= picture.is_corrupt
        sent.settled = True
        if sent.sound is not None:  # of a packet that was not thought to show anything
            sent.sound &= not sent.damaged

    def passed(self, places: Iterable[GivenUp]) -> None:
        """The frames of these places will not come any more."""
        for given_up in places:
            sent = self._sent.get(self._numbers.get(given_up.place, -1))
            if sent is not None and not sent.settled:
                sent.settled, sent.counts = True, given_up.counts
                sent.damaged |= given_up.lost

    def end(self) -> None:
        """Nothing more comes."""
        for number in range(self._next, self._count):
            sent = self._sent[number]
            sent.damaged |= sent.marked and number == self._count - 1  # a file that is cut off in it
            sent.settled, sent.marked = True, False
        self.is_sound(-1)

    def is_sound(self, number: int) -> bool | None:
        """Whether a frame that came can be trusted; None while one that is decoded earlier has not come yet."""
        while self._next < self._count and self._sent[self._next].settled and not self._sent[self._next].marked:
            self._judge(self._sent[self._next])
            self._next += 1
            old = self._sent.pop(self._next - FORGET, None)
            if old is not None and old.place is not None:
                self._numbers.pop(old.place, None)
        sent = self._sent.get(number)
        return sent.sound if sent is not None else False

    def _judge(self, sent: _Sent) -> None:
        if sent.gap:
            self._taint()
        if sent.key and not sent.predicted and not sent.damaged:
            self._clean_from = sent.place if self._tainted else None
            self._tainted = False
        elif sent.damaged and not sent.leaf and not self._late(sent):
            self._taint()
        elif sent.key and self._tainted and not sent.damaged:
            # Refreshed part by part instead of by key frames: by the second beginning, a whole round is through.
            self._refreshes += 1
            if self._refreshes > 1:
                self._tainted, self._clean_from = False, sent.place
        sent.sound = not (sent.damaged or self._tainted or self._late(sent))
        self.bad += sent.counts and not sent.sound

    def _late(self, sent: _Sent) -> bool:
        """Whether a frame is decoded after a key frame and belongs to the damaged group before it."""
        return sent.place is not None and self._clean_from is not None and sent.place < self._clean_from

    def _taint(self) -> None:
        self._tainted, self._refreshes = True, 0

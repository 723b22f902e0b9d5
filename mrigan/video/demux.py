"""The packets of a video stream, and whether all of them are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import av

from mrigan.video.container import stated_duration
from mrigan.video.damage import SETTLED, FileHoles, has_hole

UNBOUNDED = ("mpegts", "mpeg", "flv")  # containers that need not say how long they are
RUNAWAY = 4  # a demuxer that hands out so many times the file's own size is going in circles


class Packets:
    """The packets of the video stream; ends in any case.

    Attributes:
        stopped: why it ended too early, "" if it did not.
        count: packets before the present one. hole: a part of it is zeros.
        gap: something is missing before it. suspect: it may be; if it is, its time tells.
        empty: bytes of zeros that end the file, of a container that need not say how long it is.
    """

    def __init__(self, container: Any, stream: Any, where: str) -> None:
        self.stopped = ""
        self.count = -1
        self.gap = self.suspect = self.hole = False
        self.empty = 0
        self._where = where
        self._left = RUNAWAY * os.path.getsize(where) + 65_536
        self._stream = stream
        self._packets = container.demux(stream)
        self._codec = stream.codec_context.name
        kind = container.format.name
        self._holes = FileHoles(where) if "mp4" not in kind else None  # mp4 has an index of all packets
        self._unbounded = any(name in kind for name in UNBOUNDED)

    def __iter__(self) -> Iterator[Any]:
        since_mark, skipped = SETTLED, False
        packet = self._read()
        while packet is not None:
            after = self._read() if packet.size else None
            self.count += 1
            self.gap = skipped
            self.suspect = skipped or (since_mark < SETTLED and not packet.is_keyframe)
            skipped = self._holes is not None and after is not None and self._holes.between(packet, after)
            self.hole = skipped or (packet.size > 0 and has_hole(self._codec, packet))
            if self._unbounded and packet.size and (after is None or not after.size):
                assert self._holes is not None
                self.empty = self._holes.at_end()
                self.hole |= self.empty > 0
            since_mark = 0 if packet.is_corrupt else since_mark + 1
            yield packet
            packet = after

    def _read(self) -> Any:
        try:
            packet = next(self._packets, None)
        except av.error.BlockingIOError:  # MPEG-TS: nothing but a hole up to the end
            packet = self._last()
        except av.error.FFmpegError as error:
            self.stopped = f"cannot be read on: {error.strerror}"
            packet = self._last()
        if packet is not None:
            self._left -= packet.size + 16
            if self._left < 0:
                self.stopped = "the container repeats itself without end"
                packet = self._last()
        return packet

    def _last(self) -> Any:
        """An empty packet, which makes the decoder give out what it holds back."""
        packet = av.Packet()
        packet.stream = self._stream
        return packet

    def cut_short(self, frames: int) -> str:
        """Why a file that ends with zeros ends too early, "" if it does not; it has so many `frames` up to there."""
        if not self.empty:
            return ""
        about = round(self.empty * frames / max(os.path.getsize(self._where) - self.empty, 1))
        return f"cut off: the last {self.empty} bytes of the file are zeros, about {about} frames"


def avi_index(stream: Any) -> dict[int, int]:
    """Where each packet of an AVI lies, by the index at its end → its number."""
    chunks = [entry.pos for entry in stream.index_entries if entry.size]
    return {pos + offset: i for offset in (0, 8) for i, pos in enumerate(chunks)}  # of the chunk, or after its head


def cut_short(container: Any, stream: Any, reached: float, where: str) -> str:
    """Why the file ends too early, "" if it does not."""
    size = os.path.getsize(where)
    if "mp4" in container.format.name:
        end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
        return f"cut off: {size} of {end} bytes are there" if end > size else ""
    promised = stated_duration(container, stream)
    rate = stream.average_rate or stream.guessed_rate
    if promised is None or not rate:
        return ""
    slack = max(0.25, 3 / float(rate))
    alone = len(container.streams) == 1 or stream.duration is not None or "DURATION" in stream.metadata
    return f"cut off: ends at {reached:.1f} of {promised:.1f} s" if alone and reached + slack < promised else ""

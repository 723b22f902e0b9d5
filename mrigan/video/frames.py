"""Frames of a clip: decoded in sequence, converted only where wanted, numbered exactly.

**Index.** A frame's index is its place in presentation order, counted from the first frame that can be decoded. It is
found from the packets, not by counting frames: every packet that went into the decoder is remembered by its
presentation time, and a frame that comes out has overtaken every earlier one that never will. A frame in the middle
that cannot be decoded therefore leaves a gap, and does not shift the later ones. (AVI keeps no presentation times:
there frames are counted, and so are the packets that the decoder refuses.)

**Time.** Seconds since the first frame, from presentation times, so a variable frame rate is right.

**Colour.** swscale converts to full-range RGB by the stream's own tags (matrix and range); a stream without tags is
taken as BT.601 limited range (yuvj formats: full range), which is what FFmpeg and OpenCV do, and thus what made the
public data sets. Transfer curves and primaries are left alone.
"""

from __future__ import annotations

import heapq
import logging
import os
from collections import deque
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrigan.errors import InputError
from mrigan.video.container import (
    THREADS,
    as_displayed,
    check_size,
    display_matrix,
    open_video,
    stated_duration,
)

log = logging.getLogger(__name__)

RUNAWAY = 4  # a demuxer that hands out so many times the file's own size is going in circles


@dataclass(frozen=True)
class Frame:
    """One picture of a clip.

    Args:
        index: place in presentation order, from 0.
        time: seconds since the first frame.
        image: (H, W, 3) uint8 RGB, as displayed (rotation and mirroring applied).
    """

    index: int
    time: float
    image: np.ndarray


class TruncatedVideo(InputError):  # noqa: N818 (a kind of input, raised after its good frames)
    """The file stops before its end; what comes before has been read.

    Args:
        frames_read: frames decoded until then, wanted or not.
    """

    def __init__(self, what: str, *, where: str, frames_read: int) -> None:
        self.frames_read = frames_read
        super().__init__(what, where=where, fix="copy or download it again; the frames before the cut can be used")


def read_frames(
    path: str | Path, every: int = 10, wanted: Collection[int] | None = None, threads: int = THREADS
) -> Iterator[Frame]:
    """Yield the frames with `index % every == 0`, or exactly those in `wanted`, in order.

    All frames up to the last wanted one are decoded, only the yielded ones are converted to RGB.

    Args:
        threads: decoder threads (slice threads; frame threads would blur which packet an error belongs to). 1 suits one
            process a core; most H.264 files have a single slice and gain nothing from more.

    Raises:
        InputError: before the first frame: not a video, a playlist, no video stream, no frame that can be decoded.
        TruncatedVideo: after the good frames of a file that ends too early.
    """
    last = max(wanted, default=-1) if wanted is not None else None
    if last is not None and last < 0:
        return
    for decoded in decode(path, threads):
        if (decoded.index in wanted) if wanted is not None else decoded.index % every == 0:
            yield decoded.frame()
        if last is not None and decoded.index >= last:
            return


@dataclass
class Decoded:
    """A decoded, not yet converted frame; `frame()` converts it once and keeps the result."""

    index: int
    time: float
    picture: Any  # av.VideoFrame
    converter: _Converter
    _frame: Frame | None = None

    def frame(self) -> Frame:
        if self._frame is None:
            self._frame = Frame(self.index, self.time, self.converter(self.picture))
        return self._frame


def decode(path: str | Path, threads: int = THREADS) -> Generator[Decoded]:
    """Every frame of a clip in presentation order, decoded but not converted. Raises as `read_frames`."""
    import av

    where = os.fsdecode(path)
    with open_video(path, threads) as (container, stream):
        numbering = _Numbering(presentation_times=container.format.name != "avi")
        converter = _Converter(where)
        limit = RUNAWAY * os.path.getsize(where) + 65_536
        handed_out = frames = 0
        clock = _Clock(stream)
        stopped = ""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                stopped = f"cannot be read on: {error.strerror}"
                break
            if packet is None:
                break
            handed_out += packet.size + 16
            if handed_out > limit:
                stopped = "the container repeats itself without end"
                break
            numbering.sent(packet, stream.codec_context.name)
            try:
                pictures = packet.decode()
            except av.error.FFmpegError as error:
                numbering.refused(packet)
                log.debug("%s: a packet cannot be decoded: %s", where, error)
                continue
            for picture in pictures:
                index, pts = numbering.number(picture)
                if index is None:
                    continue
                frames += 1
                yield Decoded(index, clock(index, pts), picture, converter)
        if numbering.lost:
            log.warning("%s: %d of %d frames cannot be decoded", where, numbering.lost, numbering.next)
        stopped = stopped or _cut_short(container, stream, clock.seconds, where)
    if not frames:
        raise InputError(f"no frame can be decoded{': ' + stopped if stopped else ''}", where=where)
    if stopped:
        raise TruncatedVideo(f"{stopped}; {frames} frames could be read", where=where, frames_read=frames)


class _Numbering:
    """Presentation order from packets; see the top of the file.

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
            if self._clock is not None and packet.dts < self._clock:
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


class _Clock:
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


class _Converter:
    """Decoded picture → RGB as displayed, all frames of the size of the first."""

    def __init__(self, where: str) -> None:
        from av.video.reformatter import VideoReformatter

        self.where = where
        self.size: tuple[int, int] | None = None
        self.reformatter = VideoReformatter()

    def __call__(self, picture: Any) -> np.ndarray:
        check_size(picture.width, picture.height, self.where)
        if self.size is None:
            self.size = picture.width, picture.height
        width, height = self.size  # a stream that changes its size half-way is shown at one size by players, too
        rgb = self.reformatter.reformat(picture, width=width, height=height, format="rgb24", threads=1)
        return as_displayed(rgb.to_ndarray(), display_matrix(picture))


def _cut_short(container: Any, stream: Any, reached: float, where: str) -> str:
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

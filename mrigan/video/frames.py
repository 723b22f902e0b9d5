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

import logging
import os
from collections.abc import Callable, Collection, Generator, Iterator
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
from mrigan.video.numbering import Clock, LookAhead, Numbering
from mrigan.video.picture import Picture

log = logging.getLogger(__name__)

LEAVES_OUT = {"h264", "hevc"}  # decoders that are checked to leave out unreferenced frames and nothing else
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
    image: Picture


class TruncatedVideo(InputError):  # noqa: N818 (a kind of input, raised after its good frames)
    """The file stops before its end; what comes before has been read.

    Args:
        frames_read: frames that can be decoded before the cut, wanted or not.
    """

    def __init__(self, what: str, *, where: str, frames_read: int) -> None:
        self.frames_read = frames_read
        super().__init__(what, where=where, fix="copy or download it again; the frames before the cut can be used")


def read_frames(
    path: str | Path, every: int = 10, wanted: Collection[int] | None = None, threads: int = THREADS
) -> Iterator[Frame]:
    """Yield the frames with `index % every == 0`, or exactly those in `wanted`, in order.

    Decodes in sequence up to the last wanted frame (less what no other frame refers to), and converts to RGB only what
    is yielded.

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

    def needed(index: int) -> bool:
        return index in wanted if wanted is not None else index % every == 0

    for decoded in decode(path, threads, needed):
        if needed(decoded.index):
            yield decoded.frame()
        if last is not None and decoded.index >= last:
            return


@dataclass
class Decoded:
    """A decoded, not yet converted frame; `frame()` converts it once and keeps the result."""

    index: int
    time: float
    picture: Any  # av.VideoFrame
    converter: Callable[[Any], Picture]
    _frame: Frame | None = None

    def frame(self) -> Frame:
        if self._frame is None:
            self._frame = Frame(self.index, self.time, self.converter(self.picture))
        return self._frame


def decode(
    path: str | Path, threads: int = THREADS, needed: Callable[[int], bool] | None = None
) -> Generator[Decoded, None, int]:
    """Every frame of a clip in presentation order, decoded but not converted. Raises as `read_frames`.

    Returns (as a generator's value) how many frames the clip has.

    Args:
        needed: tells by index which frames are wanted; others may come or not. A decoder can leave out frames that no
            other frame refers to (half of many H.264 files); the frames that come are the same, bit by bit.
    """
    import av

    where = os.fsdecode(path)
    with open_video(path, threads) as (container, stream):
        context = stream.codec_context
        presentation_times = container.format.name != "avi"
        numbering = Numbering(presentation_times, context.name)
        ahead = LookAhead() if needed and presentation_times and context.name in LEAVES_OUT else None
        converter = _Converter(where)
        clock = Clock(stream)
        came = False
        packets = Packets(container, stream, RUNAWAY * os.path.getsize(where) + 65_536)
        for packet in packets:
            place = numbering.place(packet)
            for ready, its_place, rank in ahead.take(packet, place) if ahead else [(packet, place, None)]:
                optional = came and rank is not None and not needed(rank - numbering.leading) if needed else False
                context.skip_frame = "NONREF" if optional else "DEFAULT"
                numbering.sent(its_place, optional)
                try:
                    pictures = ready.decode()
                except av.error.FFmpegError as error:
                    numbering.refused(ready)
                    log.debug("%s: a packet cannot be decoded: %s", where, error)
                    continue
                for picture in pictures:
                    index, pts = numbering.number(picture)
                    if index is not None:
                        came = True
                        yield Decoded(index, clock(index, pts), picture, converter)
        if numbering.lost:
            log.warning("%s: %d of %d frames cannot be decoded", where, numbering.lost, numbering.next)
        stopped = packets.stopped or cut_short(container, stream, clock.reached(numbering.latest), where)
    if not came:
        raise InputError(f"no frame can be decoded{': ' + stopped if stopped else ''}", where=where)
    if stopped:
        good = numbering.next - numbering.lost
        raise TruncatedVideo(f"{stopped}; {good} frames could be read", where=where, frames_read=good)
    return numbering.total


class Packets:
    """The packets of the video stream; ends in any case, and `stopped` says why it ended too early."""

    def __init__(self, container: Any, stream: Any, limit: int) -> None:
        self.packets = container.demux(stream)
        self.left = limit
        self.stopped = ""

    def __iter__(self) -> Iterator[Any]:
        import av

        while True:
            try:
                packet = next(self.packets, None)
            except av.error.FFmpegError as error:
                self.stopped = f"cannot be read on: {error.strerror}"
                return
            if packet is None:
                return
            self.left -= packet.size + 16
            if self.left < 0:
                self.stopped = "the container repeats itself without end"
                return
            yield packet


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

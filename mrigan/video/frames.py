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
from mrigan.video.numbering import Clock, Numbering

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
        numbering = Numbering(presentation_times=container.format.name != "avi")
        converter = _Converter(where)
        limit = RUNAWAY * os.path.getsize(where) + 65_536
        handed_out = frames = 0
        clock = Clock(stream)
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

"""Frames of a clip: decoded in sequence, converted only where requested, numbered exactly.

**Index.** A frame's index is its place in presentation order, counted from the first frame that can be decoded. It is
found from the packets, not by counting frames: every packet that went into the decoder is remembered by its
presentation time, and a frame that comes out has overtaken every earlier one that never will. A frame in the middle
that cannot be decoded therefore leaves a gap, and does not shift the later ones. (AVI keeps no presentation times:
there frames are counted, and so are the packets that the decoder refuses, and those of its index that are missing.)
Frames that an edit list hides are not counted.

**Size.** All frames of a clip have one size, that of the largest, and square pixels: see `sizes.py`.

**Damage.** A frame that is damaged, or predicted from a damaged one, is not given out: see `damage.py`.

**Time.** Seconds since the first frame, from presentation times, so a variable frame rate is right.

**Colour.** swscale converts to full-range RGB by the stream's own tags (matrix and range); a stream without tags is
taken as BT.601 limited range (yuvj formats: full range), which is what FFmpeg and OpenCV do, and thus what made the
public data sets. Transfer curves and primaries are left alone.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from mrigan.errors import InputError
from mrigan.imaging.picture import Picture
from mrigan.video.container import THREADS, open_video
from mrigan.video.converter import Converter
from mrigan.video.damage import Soundness
from mrigan.video.demux import Packets, avi_index, cut_short
from mrigan.video.look_ahead import LookAhead
from mrigan.video.numbering import Clock, Numbering, Place, is_hidden
from mrigan.video.sizes import Size, frame_sizes, pixel_ratio

log = logging.getLogger(__name__)

LEAVES_OUT = {"h264", "hevc"}  # decoders that are checked to leave out unreferenced frames and nothing else
PROGRESSIVE = 1  # AVFieldOrder: 0 = not stated


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


class BrokenVideo(InputError):  # noqa: N818 (a kind of input, raised after its good frames)
    """Some frames of the file cannot be read; the good ones have been.

    Args:
        frames_read: frames that can be decoded and are not damaged, requested or not.
        frames: frames that the clip has, as far as it can be read, damaged ones among them.
    """

    def __init__(self, what: str, *, where: str, frames_read: int, frames: int) -> None:
        self.frames_read, self.frames = frames_read, frames
        super().__init__(what, where=where, fix="copy or download it again; the good frames can be used")


class TruncatedVideo(BrokenVideo):
    """The file stops before its end."""


class DamagedVideo(BrokenVideo):
    """The file is damaged inside."""


def read_frames(
    path: str | Path,
    every: int = 10,
    indices: Collection[int] | None = None,
    threads: int = THREADS,
    changes: list[tuple[float, Size]] | None = None,
) -> Generator[Frame, None, int | None]:
    """Yield the frames with `index % every == 0`, or exactly those in `indices`, in order.

    Decodes in sequence up to the last requested frame (less what no other frame refers to). Converts only what is
    yielded to RGB. Returns (as a generator's value) how many frames the clip has, None where it is not read to its end.

    Args:
        threads: decoder threads (slice threads; frame threads would blur which packet an error belongs to). 1 suits one
            process a core; most H.264 files have a single slice and gain nothing from more.
        changes: see `decode`.

    Raises:
        InputError: before the first frame: not a video, a playlist, no video stream, no frame that can be decoded.
        BrokenVideo: after the good frames of a file that ends too early or is damaged inside, if it is read to its end.
    """
    last = max(indices, default=-1) if indices is not None else None
    if last is not None and last < 0:
        return None

    def needed(index: int) -> bool:
        return index in indices if indices is not None else index % every == 0

    frames = decode(path, threads, needed, changes)
    while True:
        try:
            decoded = next(frames)
        except StopIteration as end:
            return int(end.value)
        if needed(decoded.index):
            yield decoded.frame()
        if last is not None and decoded.index >= last:
            frames.close()
            return None


@dataclass(slots=True, weakref_slot=True)
class Decoded:
    """A decoded, not yet converted frame; `frame()` converts it once and keeps the result.

    Args:
        lost: frames before it that are damaged or cannot be decoded.
        as_stored: its pixels are square, and it has the size of all frames of the clip.
    """

    index: int
    time: float
    picture: Any  # av.VideoFrame
    converter: Callable[[Any], Picture]
    lost: int = 0
    as_stored: bool = True
    _frame: Frame | None = None

    def frame(self) -> Frame:
        if self._frame is None:
            self._frame = Frame(self.index, self.time, self.converter(self.picture))
        return self._frame


def decode(
    path: str | Path,
    threads: int = THREADS,
    needed: Callable[[int], bool] | None = None,
    changes: list[tuple[float, Size]] | None = None,
) -> Generator[Decoded, None, int]:
    """Every frame of a clip in presentation order, decoded but not converted. Raises as `read_frames`.

    Returns (as a generator's value) how many frames the clip has.

    Args:
        changes: is given the time and the size, as displayed, of the first frame and of each that has another size.
        needed: tells by index which frames are needed; others may come or not. A decoder can leave out frames that no
            other frame refers to (half of many H.264 files); the frames that come are the same, bit by bit.
    """
    where = os.fsdecode(path)
    with open_video(path, threads) as (container, stream):
        context = stream.codec_context
        context.flags |= av.codec.context.Flags.copy_opaque  # a frame knows its packet
        has_times = container.format.name != "avi"
        numbering = Numbering(has_times, context.name, None if has_times else avi_index(stream))
        soundness = Soundness(context.name)
        # Where each field may be a packet of its own, a packet's rank is not its frame's.
        ranked = has_times and context.name in LEAVES_OUT and context.field_order <= PROGRESSIVE
        ahead = LookAhead() if needed and ranked else None
        all_sizes, ratio = frame_sizes(where, container, stream), pixel_ratio(stream)
        converter = Converter(where, all_sizes, ratio)
        as_stored = len(all_sizes) == 1 and ratio == 1
        clock = Clock(stream)
        waiting: deque[tuple[int, Decoded]] = deque()  # came out; whether they are sound is not known yet
        came = any_good = skipping = False
        stopped, certain = "", None
        packets = Packets(container, stream, where)
        for packet in packets:
            count, missing = numbering.missing_before(packet, packets.count, packets.suspect)
            place = numbering.place(packet)
            silent = place is None and packet.size > 0 and (has_times or is_hidden(packet, context.name))
            signs = _Signs(place, silent, packets.gap or count > 0, packets.hole)
            if ahead:
                ahead.missing(missing)
            if packet.size:
                packet.opaque = signs
            else:
                stopped = packets.stopped or cut_short(
                    container, stream, clock.reached(numbering.first_read, numbering.last_read), where
                )
                certain = numbering.certain_until() if stopped or packets.empty else None
            for ready, _, rank in ahead.take(packet, signs.place) if ahead else [(packet, None, None)]:
                signs = ready.opaque or _Signs()
                optional = came and rank is not None and not needed(rank - numbering.leading) if needed else False
                if optional != skipping:
                    skipping = optional
                    context.skip_frame = "NONREF" if optional else "DEFAULT"
                if ready.size:
                    signs.number = soundness.sent(
                        ready, signs.place, silent=signs.silent, hole=signs.hole, gap=signs.gap
                    )
                    numbering.sent(signs.place, -1 if signs.silent else signs.number, optional)
                    numbering.doubt(signs.hole)
                try:
                    pictures = ready.decode()
                except av.error.FFmpegError as error:
                    if ready.size:
                        numbering.refused(ready, signs.place, signs.number)
                        soundness.refused(signs.number)
                    log.debug("%s: a packet cannot be decoded: %s", where, error)
                    continue
                for picture in pictures:
                    came = True
                    number = picture.opaque.number
                    index, pts = numbering.number(picture, number)
                    soundness.came(number, picture)
                    if certain is not None and pts is not None and pts > certain:
                        soundness.refused(number)  # frames before it are beyond the cut: its index is not known
                    if index is not None:
                        time = clock(index, pts)
                        waiting.append((number, Decoded(index, time, picture, converter, as_stored=as_stored)))
                        shape = converter.shape(picture) if changes is not None else None
                        if changes is not None and shape is not None and (not changes or changes[-1][1] != shape):
                            changes.append((time, shape))
                soundness.passed(numbering.take_passed())
                for number in numbering.take_lost():
                    soundness.refused(number)
                while waiting and (sound := soundness.is_sound(waiting[0][0])) is not None:
                    decoded = waiting.popleft()[1]
                    if sound:
                        any_good = True
                        decoded.lost = soundness.bad + numbering.absent
                        yield decoded
        total = numbering.end()
        soundness.passed(numbering.take_passed())
        for number in numbering.take_lost():
            soundness.refused(number)
        soundness.end()
        bad = soundness.bad + numbering.absent
        for number, decoded in waiting:
            if soundness.is_sound(number):
                any_good = True
                decoded.lost = bad
                yield decoded
        stopped = stopped or packets.stopped or packets.cut_short(total)
    words = f"{bad} of {total} frames {'is' if bad == 1 else 'are'} damaged or cannot be decoded"
    if bad:
        log.warning("%s: %s", where, words)
    if not any_good:
        reason = stopped or (words if bad else "")
        raise InputError(f"no frame can be decoded{': ' + reason if reason else ''}", where=where)
    if stopped:
        more = f"; {words}" if bad else ""
        what = f"{stopped}; {total - bad} frames could be read{more}"
        raise TruncatedVideo(what, where=where, frames_read=total - bad, frames=total)
    if bad:
        raise DamagedVideo(words, where=where, frames_read=total - bad, frames=total)
    return total


@dataclass(slots=True)
class _Signs:
    """What is known about a packet before it is decoded; its frame carries it, too.

    Attributes:
        place: see `Numbering`. silent: it shows no picture. gap: frames are missing before it.
        hole: a part of it is zeros. number: of the packet, see `Soundness`.
    """

    place: Place | None = None
    silent: bool = False
    gap: bool = False
    hole: bool = False
    number: int = -1

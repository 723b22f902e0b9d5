"""Frames of a clip: decoded in sequence, converted only where wanted, numbered exactly.

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
    is_turned,
    open_video,
    stated_duration,
)
from mrigan.video.damage import SETTLED, FileHoles, Soundness, has_hole
from mrigan.video.numbering import Clock, LookAhead, Numbering, Place, is_hidden
from mrigan.video.picture import Picture
from mrigan.video.sizes import Size, canvas, frame_sizes, pixel_ratio, square

log = logging.getLogger(__name__)

LEAVES_OUT = {"h264", "hevc"}  # decoders that are checked to leave out unreferenced frames and nothing else
PROGRESSIVE = 1  # AVFieldOrder: 0 = not said
UNBOUNDED = ("mpegts", "mpeg", "flv")  # containers that need not say how long they are
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


class BrokenVideo(InputError):  # noqa: N818 (a kind of input, raised after its good frames)
    """Some frames of the file cannot be read; the good ones have been.

    Args:
        frames_read: frames that can be decoded and are not damaged, wanted or not.
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
    wanted: Collection[int] | None = None,
    threads: int = THREADS,
    changes: list[tuple[float, Size]] | None = None,
) -> Generator[Frame, None, int | None]:
    """Yield the frames with `index % every == 0`, or exactly those in `wanted`, in order.

    Decodes in sequence up to the last wanted frame (less what no other frame refers to), and converts to RGB only what
    is yielded. Returns (as a generator's value) how many frames the clip has, None where it is not read to its end.

    Args:
        threads: decoder threads (slice threads; frame threads would blur which packet an error belongs to). 1 suits one
            process a core; most H.264 files have a single slice and gain nothing from more.
        changes: see `decode`.

    Raises:
        InputError: before the first frame: not a video, a playlist, no video stream, no frame that can be decoded.
        BrokenVideo: after the good frames of a file that ends too early or is damaged inside, if it is read to its end.
    """
    last = max(wanted, default=-1) if wanted is not None else None
    if last is not None and last < 0:
        return None

    def needed(index: int) -> bool:
        return index in wanted if wanted is not None else index % every == 0

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


@dataclass(slots=True)
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
        needed: tells by index which frames are wanted; others may come or not. A decoder can leave out frames that no
            other frame refers to (half of many H.264 files); the frames that come are the same, bit by bit.
    """
    import av

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
        converter = _Converter(where, all_sizes, ratio)
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
    if bad:
        log.warning("%s: %d of %d frames cannot be decoded, or are damaged", where, bad, total)
    words = f"{bad} of {total} frames are damaged or cannot be decoded"
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
        import av

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
        import av

        packet = av.Packet()
        packet.stream = self._stream
        return packet

    def cut_short(self, frames: int) -> str:
        """Why a file that ends with zeros ends too early, "" if it does not; it has so many `frames` up to there."""
        if not self.empty:
            return ""
        about = round(self.empty * frames / max(os.path.getsize(self._where) - self.empty, 1))
        return f"cut off: the last {self.empty} bytes of the file are zeros, about {about} frames"


class _Converter:
    """Decoded picture → RGB as displayed, all frames at one size.

    Attributes:
        size: (w, h) in px at which all frames are shown, None before the first.
    """

    def __init__(self, where: str, sizes: frozenset[Size], ratio: float) -> None:
        from av.video.reformatter import VideoReformatter

        self._where, self._sizes, self._ratio = where, sizes, ratio
        self.size: Size | None = None
        self._reformatter = VideoReformatter()

    def shape(self, picture: Any) -> Size:
        """The (w, h) of a picture as displayed, with square pixels, at its own size."""
        width, height = square((picture.width, picture.height), self._ratio)
        matrix = display_matrix(picture)
        return (height, width) if matrix is not None and is_turned(matrix) else (width, height)

    def __call__(self, picture: Any) -> np.ndarray:
        check_size(picture.width, picture.height, self._where)
        matrix = display_matrix(picture)
        turned = matrix is not None and is_turned(matrix)
        width, height = own = square((picture.width, picture.height), self._ratio)
        if self.size is None:
            largest = square(canvas(self._sizes, (picture.width, picture.height)), self._ratio)
            check_size(*largest, self._where)
            self.size = largest[::-1] if turned else largest
        room = self.size[::-1] if turned else self.size
        if own != room:
            scale = min(room[0] / width, room[1] / height)
            width, height = max(round(width * scale), 1), max(round(height * scale), 1)
        rgb = self._reformatter.reformat(picture, width=width, height=height, format="rgb24", threads=1)
        image = as_displayed(rgb.to_ndarray(), matrix)
        return image if image.shape[1::-1] == self.size else _in_the_middle(image, self.size)


def _in_the_middle(image: np.ndarray, size: Size) -> np.ndarray:
    """A smaller picture in a black one of `size`."""
    (h, w), (width, height) = image.shape[:2], size
    whole = np.zeros((height, width, 3), np.uint8)
    y, x = (height - h) // 2, (width - w) // 2
    whole[y : y + h, x : x + w] = image
    return whole


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

"""A clip taken apart into packets, and put together again in a container that is written here.

For decoders that are not PyAV: they get our bytes, never a file that somebody else wrote, so a playlist that is called
a video reaches nobody. The packets are stamped with their places in presentation order, so that a variable frame rate,
edit lists and gaps in the times are gone; and only the first is marked as a key frame, so that a decoder goes through
them in sequence and never jumps into an open group.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from mrigan.video.container import check_size, display_matrix, open_video
from mrigan.video.demux import Packets, cut_short
from mrigan.video.nal import has_lengths, units
from mrigan.video.numbering import Clock, Numbering, Place
from mrigan.video.sizes import frame_sizes, pixel_ratio

HELD = 512 * 2**20  # bytes of packets kept in memory
RATE = 25  # frames a second of what is written here
FIRST = 64  # packets that the first frame may need

INTRA = {"vp8", "vp9", "mjpeg"}  # where a key frame cuts all ties to what was before
IDR = {"h264": {5}, "hevc": {19, 20}}  # NAL units that do


class RefusedError(Exception):
    """The clip is better read by PyAV; the message says why."""


@dataclass(frozen=True)
class Stream:
    """A clip taken apart.

    Args:
        packets: in the file's order, which is that of decoding.
        ranks: the index of each packet's frame (its place in presentation order).
        times: seconds of each frame since the first, by index.
        template: the stream that the packets come from.
        codec, pix_fmt: FFmpeg's names.
        colours: (AVColorSpace, AVColorRange) of the first frame.
        matrix: how the stored pictures are turned for display, None = not at all.
        size: (w, h) in px, as stored.
    """

    packets: list[Any]
    ranks: list[int]
    times: list[float]
    template: Any
    codec: str
    pix_fmt: str
    colours: tuple[int, int]
    matrix: np.ndarray | None
    size: tuple[int, int]

    def part(self, indices: list[int]) -> tuple[bytes, list[int]]:
        """As little of the clip as gives the frames `indices` (rising): a Matroska file, and their indices in it."""
        last = max(i for i, rank in enumerate(self.ranks) if rank in set(indices))
        start = max(i for i in range(last + 1) if self.ranks[i] <= indices[0] and (i == 0 or self._begins(i)))
        ranks = self.ranks[start : last + 1]
        order = {rank: place for place, rank in enumerate(sorted(ranks))}
        return self._written(start, [order[rank] for rank in ranks]), [order[index] for index in indices]

    def _begins(self, i: int) -> bool:
        """Whether decoding can begin at this packet and show what it shows after all those before."""
        packet = self.packets[i]
        if not packet.is_keyframe:
            return False
        return self.codec in INTRA or (self.codec in IDR and self._is_idr(bytes(packet)))

    def _is_idr(self, data: bytes) -> bool:
        """Whether a packet of H.264 or HEVC has an IDR unit; one with start codes is not looked into."""
        context = self.template.codec_context
        return has_lengths(context) and any(kind in IDR[self.codec] for kind, _ in units(context, data))

    def _written(self, start: int, places: list[int]) -> bytes:
        delay = max(i - place for i, place in enumerate(places))  # no frame is shown before it is decoded
        file = io.BytesIO()
        with av.open(file, "w", format="matroska") as container:
            stream = container.add_stream_from_template(self.template)
            for i, place in enumerate(places):
                packet = av.Packet(bytes(self.packets[start + i]))
                packet.stream, packet.time_base = stream, Fraction(1, RATE)
                packet.dts, packet.pts, packet.is_keyframe = i, place + delay, i == 0
                container.mux(packet)
        return file.getvalue()


@contextmanager
def taken_apart(path: str | Path, codecs: set[str], pixels: set[str]) -> Iterator[Stream]:
    """Read all packets of a clip whose frames can be numbered without decoding them.

    Args:
        codecs, pixels: FFmpeg's names of the codecs and pixel formats that are of use.

    Raises:
        RefusedError: of no use, damaged, or not simple enough.
        InputError: as `open_video`.
    """
    where = os.fsdecode(path)
    with open_video(path) as (container, stream):
        context = stream.codec_context
        codec, pix_fmt = context.codec.canonical_name, context.pix_fmt or ""
        if codec not in codecs:
            raise RefusedError(f"the codec is {codec}")
        if pix_fmt not in pixels:
            raise RefusedError(f"the pixel format is {pix_fmt}")
        if pixel_ratio(stream) != 1:
            raise RefusedError("its pixels are not square")
        if len(frame_sizes(where, container, stream)) > 1:
            raise RefusedError("the size of its frames changes")
        numbering = Numbering(presentation_times=True, codec=context.name)
        packets, places = _read(container, stream, numbering, where)
        order = sorted(range(len(places)), key=places.__getitem__)
        if len(set(places)) != len(places):
            raise RefusedError("two frames have the same time")
        if not packets or order[0] != 0 or not packets[0].is_keyframe:
            raise RefusedError("it begins in the middle of a group")
        ranks = np.empty(len(order), int)
        ranks[order] = np.arange(len(order))
        clock = Clock(stream)
        times = [clock(rank, places[i][1]) for rank, i in enumerate(order)]
        if stopped := cut_short(container, stream, clock.reached(numbering.first_read, numbering.last_read), where):
            raise RefusedError(stopped)
        try:
            frame = next(picture for packet in packets[:FIRST] for picture in packet.decode())
        except (av.error.FFmpegError, StopIteration):
            raise RefusedError("its first frame cannot be decoded") from None
        check_size(frame.width, frame.height, where)
        yield Stream(
            packets=packets,
            ranks=ranks.tolist(),
            times=times,
            template=stream,
            codec=codec,
            pix_fmt=pix_fmt,
            colours=(int(frame.colorspace), int(frame.color_range)),
            matrix=display_matrix(frame),
            size=(frame.width, frame.height),
        )


def _read(container: Any, stream: Any, numbering: Numbering, where: str) -> tuple[list[Any], list[Place]]:
    packets: list[Any] = []
    places: list[Place] = []
    held = 0
    source = Packets(container, stream, where)
    for packet in source:
        place = numbering.place(packet)
        if not packet.size:
            continue
        if place is None:
            raise RefusedError("it has packets that show nothing, or have no time")
        if packet.is_corrupt or source.gap or source.hole:
            raise RefusedError("a packet is damaged")
        held += packet.size
        if held > HELD:
            raise RefusedError(f"it is longer than {HELD // 2**20} MiB")
        packets.append(packet)
        places.append(place)
    if stopped := source.stopped or source.cut_short(len(packets)):
        raise RefusedError(stopped)
    return packets, places

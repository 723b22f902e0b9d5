"""The size at which all frames of a clip are shown: that of its largest frame, with square pixels.

A call that a browser records starts small and grows with the bandwidth; a telephone is turned; recordings are joined.
A detector sees one clip at one size, and faces that are squeezed look forged. So each frame is scaled to fit into the
size of the largest one, keeps its shape, and what is left free is black.

How large the frames are is known before the first one is decoded: from the container's header and from the key frames,
where alone a size can change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import av

from mrigan.imaging.coordinates import Size
from mrigan.video.container import MAX_PIXELS, boxes, open_video
from mrigan.video.nal import units

SQUARE = 0.01  # a pixel that is wider or higher than square by less is taken for square: nobody sees it
MAX_RATIO = 4.0  # no camera has pixels that are longer
HEAD = 1024  # bytes of a key frame that hold its parameter sets
SPS = {"h264": 7, "hevc": 33}  # NAL unit types
MOOV_LIMIT = WHOLE = 64 * 2**20  # bytes
MAX_REMEMBERED = 256  # files
MAX_DIFFERENT = 64  # parameter sets that are decoded to know their size


def pixel_ratio(stream: Any) -> float:
    """Width over height of a pixel: 1 if it is square, or the file says nothing or nonsense."""
    ratio = stream.sample_aspect_ratio
    value = float(ratio) if ratio else 1.0
    return 1.0 if abs(value - 1) < SQUARE or not 1 / MAX_RATIO <= value <= MAX_RATIO else value


def square(size: Size, ratio: float) -> Size:
    """The (w, h) of a stored frame in square pixels; its height stays."""
    return max(round(size[0] * ratio), 1), size[1]


def frame_sizes(where: str, container: Any, stream: Any) -> frozenset[Size]:
    """The sizes that a clip's frames are stored at, (w, h) in px; only those that are known without decoding."""
    context, kind = stream.codec_context, container.format.name
    stated = frozenset({(context.width, context.height)})
    if context.name not in CHANGING or not any(name in kind for name in ("mp4", *STREAMED)):
        return stated
    status = os.stat(where)
    file = (where, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    if file not in _REMEMBERED:
        if len(_REMEMBERED) >= MAX_REMEMBERED:
            _REMEMBERED.clear()
        if "mp4" in kind:
            keys = [(entry.pos, entry.size) for entry in stream.index_entries if entry.is_keyframe]
            _REMEMBERED[file] = stated.union(_described(where), _sizes(context, _keys(where, keys)))
        else:
            _REMEMBERED[file] = stated.union(_scanned(where))
    return _REMEMBERED[file] | stated


def canvas(sizes: Iterable[Size], first: Size) -> Size:
    """The size with the most pixels; of those that are alike `first`, else the smallest width."""
    return min(sizes, key=lambda size: (-size[0] * size[1], size != first, size))


def _scanned(where: str) -> set[Size]:
    """From the key frames of a container without an index: it is read once, not decoded."""
    sizes: set[Size] = set()
    with open_video(where) as (container, stream):
        packets = (p for p in container.demux(stream) if p.size and p.is_keyframe)
        keys = (_Key(bytes(memoryview(p)[:HEAD]), partial(bytes, p)) for p in packets)
        try:
            for size in _sizes(stream.codec_context, keys):
                sizes.add(size)
        except av.error.FFmpegError:  # the end of what can be read, as the decoder will find, too
            pass
    return sizes


class _Key(NamedTuple):
    """A key frame's packet: its first bytes, and all of them when they are asked for."""

    head: bytes
    whole: Callable[[], bytes]


def _keys(where: str, places: Iterable[tuple[int, int]]) -> Iterator[_Key]:
    with open(where, "rb", buffering=0) as file:
        for pos, size in places:
            yield _Key(
                os.pread(file.fileno(), min(size, HEAD), pos), partial(os.pread, file.fileno(), min(size, WHOLE), pos)
            )


def _sizes(context: Any, keys: Iterable[_Key]) -> Iterator[Size]:
    if context.name in READERS:
        sizes = (READERS[context.name](key) for key in keys)
        yield from (size for size in sizes if size is not None and min(size) > 0)
        return
    different: dict[bytes, bytes] = {}  # parameter sets, with the first packet of each
    for key in keys:
        parameters = _sps(context, key.head)
        if parameters is not None and parameters not in different and len(different) < MAX_DIFFERENT:
            different[parameters] = key.whole()
    header = bytes(context.extradata or b"")
    if len(different) > 1 or any(parameters not in header for parameters in different):
        yield from filter(None, (_decoded(context, data) for data in different.values()))


def _decoded(context: Any, data: bytes) -> Size | None:
    """The size of a key frame of H.264 or HEVC, by FFmpeg."""
    decoder = av.CodecContext.create(context.name, "r")
    decoder.extradata = bytes(context.extradata or b"") or None
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    try:
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except (av.error.FFmpegError, ValueError):
        return None
    return (frames[0].width, frames[0].height) if frames else None


def _vp8(key: _Key) -> Size | None:
    """RFC 6386, 9.1: a start code, then width and height of 14 bits each."""
    data = key.head
    if len(data) < 10 or data[3:6] != b"\x9d\x01\x2a":
        return None
    return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF


def _vp9(key: _Key) -> Size | None:
    """VP9's uncompressed header: frame marker, profile, key frame, sync code, colours, then both sides less one."""
    bits = _Bits(key.head[:32])
    if bits.take(2) != 2:
        return None
    profile = bits.take(1) | bits.take(1) << 1
    bits.take(profile == 3)
    if bits.take(1) or bits.take(1):  # shows an earlier frame; not a key frame
        return None
    bits.take(2)
    if bits.take(24) != 0x498342:
        return None
    bits.take(profile >= 2)
    srgb = bits.take(3) == 7
    subsampling = profile in {1, 3}  # stated, and not 4:2:0
    bits.take(int(subsampling) if srgb else 1 + 3 * subsampling)
    return bits.take(16) + 1, bits.take(16) + 1


def _mpeg2(key: _Key) -> Size | None:
    """ISO 13818-2, 6.2.2.1: the sequence header, 12 bits a side."""
    data = key.head
    at = data.find(b"\0\0\1\xb3")
    if at < 0 or len(data) < at + 7:
        return None
    a, b, c = data[at + 4 : at + 7]
    return a << 4 | b >> 4, (b & 15) << 8 | c


def _sps(context: Any, data: bytes) -> bytes | None:
    """The first sequence parameter set in a packet."""
    return next((unit for kind, unit in units(context, data) if kind == SPS[context.name]), None)


def _described(where: str) -> Iterator[Size]:
    """The sizes in the sample descriptions of an mp4 or mov: there is one for each piece of a joined recording."""
    moov = _moov(where)
    at = moov.find(b"stsd")
    while at >= 0:
        count = int.from_bytes(moov[at + 8 : at + 12])
        entry = at + 12
        for _ in range(min(count, MAX_DIFFERENT) if count > 1 else 0):
            length, kind = int.from_bytes(moov[entry : entry + 4]), moov[entry + 4 : entry + 8]
            if length < 86 or not kind.strip():
                break
            size = int.from_bytes(moov[entry + 32 : entry + 34]), int.from_bytes(moov[entry + 34 : entry + 36])
            if kind in VIDEO_ENTRIES and min(size) > 0:
                yield size
            entry += length
        at = moov.find(b"stsd", at + 4)


def _moov(where: str) -> bytes:
    with open(where, "rb") as file:
        for kind, at, length in boxes(file):
            if kind == b"moov":
                file.seek(at)
                return file.read(min(length, MOOV_LIMIT))
    return b""


_REMEMBERED: dict[tuple[str, int, int, int, int], frozenset[Size]] = {}  # a clip is opened several times in a row


class _Bits:
    """Bits of a header, the highest first; zeros after its end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        return (self._value >> self._left if self._left >= 0 else 0) & ((1 << count) - 1)


READERS = {
    "vp8": _vp8,
    "libvpx": _vp8,
    "vp9": _vp9,
    "mpeg1video": _mpeg2,
    "mpeg2video": _mpeg2,
}
CHANGING = {*READERS, "h264", "hevc"}
STREAMED = ("matroska", "webm", "mpegts", "mpeg", "flv")
VIDEO_ENTRIES = {b"avc1", b"avc3", b"hvc1", b"hev1", b"vp08", b"vp09", b"av01", b"mp4v"}

"""Opening a file as a video and as nothing else.

FFmpeg is eager: a text file that is called `x.mp4` but holds a playlist (ffconcat, m3u8, sdp) makes it read *other*
files or the network. So only regular files are opened, only containers that hold their own pictures are allowed, and
the only protocol is `file`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.stream import VideoStream

from mrigan.errors import InputError
from mrigan.imaging.picture import Picture, is_array

CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg"  # demuxers that read their own file only
FIRST_BOXES = {b"ftyp", b"wide", b"mdat", b"free", b"skip", b"pnot"}  # what an mp4 or mov may begin with
MAX_BOXES = 10_000  # on the top level; a fragmented recording of hours has some thousands
MAX_SIDE = 16_384  # px
MAX_PIXELS = 8_192 * 8_192
BLOCK = 512  # bytes, of `st_blocks`
MAX_PIECES = 10_000  # between holes of a file that are looked at
THREADS = 1  # decoder threads: builds run one process a core (see `read_frames`)


@contextmanager
def open_video(path: str | Path, threads: int = THREADS) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open `path` for decoding; yields the container and its video stream (never a cover picture).

    The path is a file name whatever it looks like (`-x.mp4`, `concat:a`, `http:..`, bytes that are no UTF-8).

    Raises:
        InputError: no regular file, empty, not one of `CONTAINERS`, no video stream, no decoder, or absurd in size.
    """
    where = os.fsdecode(path)
    _check_file(where)
    try:
        container = av.open(
            "file:" + os.path.abspath(where),
            metadata_errors="replace",
            # Each goes to the demuxer and to the decoders that probe the streams.
            options={"max_pixels": str(MAX_PIXELS)},
            container_options={"protocol_whitelist": "file", "format_whitelist": CONTAINERS},
        )
    except (av.error.FFmpegError, ValueError) as error:
        if _lacks_its_index(where):
            raise InputError(
                "not a readable video: an mp4 or mov without its index (moov atom not found)",
                where=where,
                fix="the file was cut off or its recording was not finished: copy or download it again; where there is "
                "no whole copy, the program untrunc can rebuild the index from a whole file of the same camera",
            ) from None
        raise _not_a_video(where, _reason(error)) from None
    with container:
        stream = _pick_stream(container, where)
        context = stream.codec_context
        context.options = {"max_pixels": str(MAX_PIXELS)}
        if context.name == "mjpeg":  # its decoder marks no frame; each is a picture of its own, so a refused one is all
            context.options |= {"err_detect": "explode"}
        context.thread_type = "SLICE"  # frame threads hold frames back, so that an error no longer names its packet
        context.thread_count = threads
        check_size(context.width, context.height, where)
        yield container, stream


def stated_duration(container: Any, stream: Any) -> float | None:
    """Seconds that the container promises for the video stream, None where it promises nothing."""
    if stream.duration is not None and stream.time_base:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")  # Matroska keeps it as a tag, h:m:s
    if tag.count(":") == 2:
        hours, minutes, seconds = tag.split(":")
        try:
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        except ValueError:
            pass  # a damaged tag is no promise
    return container.duration / 1e6 if container.duration else None


def check_size(width: int, height: int, where: str) -> None:
    """Refuse frames that no camera makes before memory is spent on them."""
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        limit = f"{MAX_SIDE} px a side and {MAX_PIXELS / 1e6:.0f} megapixels are the limit"
        raise InputError(f"frames of {width} × {height} px; {limit}", where=where, fix="scale the video down first")


def display_matrix(frame: Any) -> np.ndarray | None:
    """The 2 × 2 part of the frame's display matrix (rows: where stored x and y go), or None for a picture as stored."""
    for data in frame.side_data:
        if data.type == Type.DISPLAYMATRIX:
            m = np.frombuffer(bytes(data), np.int32)
            if m.size == 9 and (m[[0, 1, 3, 4]] != 0).any():
                return m[[0, 1, 3, 4]].reshape(2, 2)
    return None


def as_displayed(image: Picture, matrix: np.ndarray | None) -> Picture:
    """Turn and mirror a stored picture (H, W, 3) as `display_matrix` says, to the nearest right angle."""
    if matrix is None:
        return image
    (a, b), (c, d) = matrix.tolist()
    if is_turned(matrix):
        image = image.swapaxes(0, 1)
        flip_x, flip_y = c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    if not is_array(image):
        return image.flip([axis for axis, flips in enumerate((flip_y, flip_x)) if flips]).contiguous()
    return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def is_turned(matrix: np.ndarray) -> bool:
    """Whether a display matrix swaps the sides."""
    (a, b), (c, d) = np.abs(matrix.astype(np.int64)).tolist()
    return b + c > a + d


def _check_file(where: str) -> None:
    try:
        status = os.stat(where)
    except (OSError, ValueError) as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise InputError(problem, where=where) from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError("a video must be a regular file", where=where, fix="give the path of a video file")
    if status.st_size == 0:
        raise InputError("the file is empty (zero bytes)", where=where, fix="copy or download it again")
    # Fewer blocks than bytes: holes, which a demuxer would read as zeros for hours, or a file system that compresses.
    if status.st_blocks * BLOCK < status.st_size / 2 and 2 * (stored := stored_bytes(where)) < status.st_size:
        raise InputError(
            f"most of the file is missing: {stored:,} of its {status.st_size:,} bytes are stored, the rest are holes",
            where=where,
            fix="copy or download it again",
        )


def stored_bytes(where: str) -> int:
    """The bytes of a file that are not in holes; of a file in very many pieces, at most those after the first ones."""
    stored = at = 0
    with open(where, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        for _ in range(MAX_PIECES):
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                return stored if error.errno == errno.ENXIO else size  # a hole is left; or none is reported
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            stored += at - start
    return stored + size - at


def _pick_stream(container: Any, where: str) -> Any:
    cover = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        what = "only a cover picture" if container.streams.video else "no video stream"
        raise InputError(f"{what} in this file", where=where, fix="give a file with moving pictures")
    decodable = [s for s in streams if s.codec_context is not None]
    if not decodable:
        raise InputError("no decoder for the video stream", where=where, fix="convert it to H.264")
    best = container.streams.best("video")
    return best if best in decodable else decodable[0]


def _lacks_its_index(where: str) -> bool:
    """Whether a file begins as an mp4 or mov, and has no `moov` box on its top level (or only the first part of it)."""
    size = os.path.getsize(where)
    with open(where, "rb") as file:
        if file.read(8)[4:] not in FIRST_BOXES:
            return False
        return all(kind != b"moov" or at + length > size for kind, at, length in boxes(file))


def boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """The boxes on the top level of an mp4 or mov: their kind, where they begin, and their length, in bytes."""
    at = 0
    for _ in range(MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4])
        if length == 1:
            length = int.from_bytes(head[8:16])
        if len(head) < 8 or length < 8:  # the end; or the last box, or a hole
            return
        yield head[4:8], at, length
        at += length


def _not_a_video(where: str, reason: str) -> InputError:
    return InputError(
        f"not a readable video ({reason})",
        where=where,
        fix="give an mp4, mov, mkv, webm or avi file that plays; a cut-off mp4 must be copied again",
    )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error)

"""What a video is, without reading it all."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from mrigan.video.container import display_matrix, is_turned, open_video, stated_duration
from mrigan.video.sizes import canvas, frame_sizes, pixel_ratio, square


@dataclass(frozen=True)
class VideoInfo:
    """What the container says about its video stream.

    Args:
        width, height: px, as displayed: rotation and the shape of pixels applied, of the largest frame.
        fps: mean frames a second, 0 where the container does not say.
        frames: number of frames by the container's own count, less those that an edit list hides; None where it has
            none.
        duration: seconds, None where unknown.
        codec: FFmpeg's name, e.g. `h264`.
        pix_fmt: FFmpeg's name of the stored pixel format, e.g. `yuv420p`.
        others: what else the file shows, and nobody looks at: a line on each further video stream.
        rotation: degrees counterclockwise by which the stored picture is turned for display.
    """

    width: int
    height: int
    fps: float
    frames: int | None
    duration: float | None
    codec: str
    pix_fmt: str
    rotation: int
    others: tuple[str, ...] = ()


def probe(path: str | Path) -> VideoInfo:
    """Read the properties of a clip; decodes at most its first frame (the rotation is kept there).

    Raises:
        InputError: as `open_video`.
    """
    with open_video(path) as (container, stream):
        frame = None
        with suppress(av.error.FFmpegError):  # a damaged first frame: `read_frames` finds out what can be read
            frame = next(container.decode(stream), None)
        context = stream.codec_context
        matrix = display_matrix(frame) if frame is not None else None
        first = (frame.width, frame.height) if frame is not None else (context.width, context.height)
        largest = canvas(frame_sizes(os.fsdecode(path), container, stream), first)
        width, height = square(largest, pixel_ratio(stream))
        if matrix is not None and is_turned(matrix):
            width, height = height, width
        rate = stream.average_rate or stream.guessed_rate
        return VideoInfo(
            width=width,
            height=height,
            fps=float(rate) if rate else 0.0,
            frames=_shown_frames(container, stream),
            duration=stated_duration(container, stream),
            codec=context.name,
            pix_fmt=context.pix_fmt or "",
            rotation=frame.rotation % 360 if frame is not None else 0,
            others=tuple(_described(other) for other in container.streams.video if other.index != stream.index),
        )


def _shown_frames(container: Any, stream: Any) -> int | None:
    if "mp4" in container.format.name and stream.frames:
        return sum(not entry.is_discard for entry in stream.index_entries) or None
    return stream.frames or None


def _described(stream: Any) -> str:
    context = stream.codec_context
    kind = "cover picture" if stream.disposition & av.stream.Disposition.attached_pic else "video stream"
    if context is None:
        return f"{kind} {stream.index} (no decoder for it)"
    return f"{kind} {stream.index} ({context.name}, {context.width} × {context.height} px)"

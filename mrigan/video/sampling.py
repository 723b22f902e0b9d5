"""Which frames of a clip are looked at: each n-th, or a fixed number of them spread evenly."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from mrigan.config import FacesConfig
from mrigan.video.frames import BrokenVideo, decode
from mrigan.video.info import VideoInfo, probe


def sampling(path: str | Path, config: FacesConfig, info: VideoInfo | None = None) -> dict[str, Any]:
    """The arguments with which `read_frames` and `FrameSource.read` give the frames of `config`: `every` or `indices`.

    Args:
        info: of the clip, if it is known.

    Raises:
        InputError: as `probe`, or as `read_frames` if the frames must be counted.
    """
    if not config.frames:
        return {"every": config.every}
    total = stated_frames(info or probe(path))
    return {"indices": evenly(_counted(path) if total is None else total, config.frames)}


def evenly(total: int, count: int) -> Collection[int]:
    """At most `count` of the frames 0...total-1, evenly, the first and the last among them; rounded down."""
    return set(np.linspace(0, max(total, 1) - 1, count).astype(np.int64).tolist())


def stated_frames(info: VideoInfo) -> int | None:
    """How many frames a clip has, by what its file says; None where it does not say."""
    if info.frames is not None:
        return info.frames
    return round(info.duration * info.fps) if info.duration and info.fps else None


def _counted(path: str | Path) -> int:
    """How many frames a clip has, by decoding it."""
    frames = decode(path, needed=lambda _: False)
    while True:
        try:
            next(frames)
        except StopIteration as end:
            return int(end.value)
        except BrokenVideo as error:
            return error.frames

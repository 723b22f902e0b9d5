"""What is kept of an original and of a fake while one follows the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from pathlib import Path

import numpy as np

from mrigan.errors import InputError
from mrigan.video.frames import Decoded, Frame
from mrigan.video.geometry import grey
from mrigan.video.source import FrameSource

LOST = "unreadable: this frame of the fake cannot be decoded"


class Greys:
    """The grey values of the original's frame at hand: its fakes all ask for the same."""

    def __init__(self) -> None:
        self._frame: Frame | None = None
        self._grey: np.ndarray | None = None

    def __call__(self, frame: Frame) -> np.ndarray:
        if self._grey is None or frame is not self._frame:
            self._frame, self._grey = frame, grey(frame.image)
        return self._grey


class Window:
    """The frames of a clip around the place that it has been read to.

    Args:
        offset: frames kept on each side.
        wanted: the indices that will be asked for, None = any may be.
        whole: those of them that will be asked for with all their neighbours.
    """

    def __init__(
        self,
        source: FrameSource,
        path: str | Path,
        offset: int,
        wanted: Collection[int] | None,
        whole: Collection[int] | None,
    ) -> None:
        self.offset = offset
        self._whole = None if wanted is None else set(whole or ())
        needed: set[int] | None = None
        if wanted is not None:
            needed = {*wanted, *(i + o for i in whole or () for o in range(-offset, offset + 1))}
        self._frames = source.decode(path, needed.__contains__ if needed is not None else None)
        self._kept: deque[Decoded] = deque()
        self._ended = ""  # the reason of all frames after the last
        self._count: int | None = None

    def close(self) -> None:
        """Close the file."""
        self._frames.close()
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def has_all_around(self, index: int) -> bool:
        """Whether `around(index)` gives all frames that there are."""
        return self._whole is None or index in self._whole

    def around(self, index: int) -> dict[int, Decoded]:
        """The frames near `index` by offset; those before them are given up."""
        while not self._ended and (not self._kept or self._kept[-1].index < index + self.offset):
            try:
                self._kept.append(next(self._frames))
            except StopIteration as end:
                self._ended, self._count = "ended", end.value
            except InputError as error:
                self._ended = f"unreadable: {error.what}"
        while self._kept and self._kept[0].index < index - self.offset:
            self._kept.popleft()
        return {d.index - index: d for d in self._kept if abs(d.index - index) <= self.offset}

    def absence(self, index: int) -> str:
        """Why the frame `index` is not there."""
        later = any(d.index > index for d in self._kept) or (self._count is not None and index < self._count)
        return LOST if later or not self._ended else self._ended

"""What is kept of an original and of a fake while one follows the other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from mrigan.errors import InputError
from mrigan.imaging.picture import grey
from mrigan.video.frames import Decoded, Frame
from mrigan.video.geometry import Geometry, spread
from mrigan.video.points import original_points
from mrigan.video.source import FrameSource

LOST = "unreadable: this frame of the fake cannot be decoded"


class Greys:
    """The grey values and points of the original's frame at hand: its fakes all ask for the same."""

    def __init__(self) -> None:
        self._frame: Frame | None = None
        self._grey: np.ndarray | None = None
        self._spread: float | None = None
        self._points: dict[Geometry, np.ndarray] = {}

    def __call__(self, frame: Frame) -> np.ndarray:
        if self._grey is None or frame is not self._frame:
            self._frame, self._grey, self._spread, self._points = frame, grey(frame.image), None, {}
        return self._grey

    def spread(self, frame: Frame) -> float:
        """See `geometry.spread`."""
        values = self(frame)
        if self._spread is None:
            self._spread = spread(values)
        return self._spread

    def points(self, frame: Frame, geometry: Geometry) -> np.ndarray:
        """The frame's points in a pair's geometry (see `original_points`)."""
        values = self(frame)
        if geometry not in self._points:
            self._points[geometry] = original_points(values, geometry)
        return self._points[geometry]


class Window:
    """A clip that is read forwards, up to the frame that is asked for; only that one is kept.

    Args:
        needed: the indices that must come, None = all.
        passing: is shown every frame that comes.

    Attributes:
        lost: frames that are damaged or cannot be decoded, as far as the clip has been read.
    """

    def __init__(
        self,
        source: FrameSource,
        path: str | Path,
        needed: Collection[int] | None = None,
        passing: Callable[[Decoded], None] | None = None,
    ) -> None:
        self._frames = source.decode(path, needed.__contains__ if needed is not None else None)
        self._passing = passing
        self._last: Decoded | None = None
        self._end = ""  # the reason of all frames after the last
        self._count: int | None = None
        self.lost = 0

    def close(self) -> None:
        """Close the file."""
        self._frames.close()
        self._last = None

    def get(self, index: int) -> Decoded | None:
        """The frame `index`, None where it is not there (`absence` says why). Indices must rise."""
        while not self._end and (self._last is None or self._last.index < index):
            try:
                self._last = next(self._frames)
                self.lost = self._last.lost
            except StopIteration as end:
                self._end, self._count = "ended", end.value
            except InputError as error:
                self._end = f"unreadable: {error.what}"
            else:
                if self._passing is not None:
                    self._passing(self._last)
        return self._last if self._last is not None and self._last.index == index else None

    def read_on(self) -> str:
        """Read to the end; returns the reason of all frames after the last: "ended" or "unreadable: ..."."""
        while not self._end:
            self.get(self._last.index + 1 if self._last is not None else 0)
        return self._end

    def absence(self, index: int) -> str:
        """Why the frame `index` is not there."""
        later = self._last is not None and self._last.index > index
        return LOST if later or (self._count is not None and index < self._count) or not self._end else self._end

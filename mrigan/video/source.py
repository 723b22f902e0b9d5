"""Where frames come from: one interface over the decoders, and the rule that picks one.

`FrameSource.read` gives the same frames, by index and time, whichever decoder is behind it. Their colours differ in the
last steps (DALI interpolates the chroma, PyAV repeats it: see docs/results.md), so the clips of one family all go
through one decoder: an MRI shows what a forger did, never what a decoder did.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterator
from pathlib import Path
from typing import Protocol

from mrigan.video.frames import Decoded, Frame, decode, read_frames

log = logging.getLogger(__name__)


class FrameSource(Protocol):
    """A decoder behind the interface.

    Attributes:
        name: `pyav` or `dali`.
        device: `cpu` or `cuda`: where the decoding is done.
    """

    name: str
    device: str

    def read(self, path: str | Path, every: int = 10, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        """The frames with `index % every == 0`, or exactly those in `wanted`, in order; raises as `read_frames`."""
        ...

    def decode(self, path: str | Path, needed: Callable[[int], bool] | None = None) -> Generator[Decoded, None, int]:
        """The frames that are `needed` (others may come, too), in order, converted when asked for.

        Returns (as a generator's value) how many frames the clip has. `close()` closes the file.
        """
        ...


class PyAvSource:
    """FFmpeg on the CPU: every codec, every pixel format, damaged files."""

    name = "pyav"
    device = "cpu"

    def read(self, path: str | Path, every: int = 10, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        return read_frames(path, every, wanted)

    def decode(self, path: str | Path, needed: Callable[[int], bool] | None = None) -> Generator[Decoded, None, int]:
        return decode(path, needed=needed)

"""Where frames come from: one interface over the decoders. `mrigan.video.decoders` picks one.

`FrameSource.read` gives the same frames, by index and time, whichever decoder is behind it. Their colours are not the
same bit by bit (DALI interpolates 4:2:0 chroma, swscale repeats it: see docs/results.md). So the clips of one family
all go through one decoder: an MRI shows what a forger did, never what a decoder did.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from mrigan.errors import MriganError
from mrigan.imaging.picture import Picture, to_device
from mrigan.video.frames import Decoded, Frame, decode, read_frames


class DecoderError(MriganError):
    """A decoder does not take a clip, or fails at one that looked well; PyAV may still read its good frames."""


class FrameSource(Protocol):
    """A decoder behind the interface.

    Attributes:
        name: `pyav` or `dali`.
        device: `cpu` or `cuda`: where the decoding is done.
    """

    name: str
    device: str

    def read(self, path: str | Path, every: int = 10, indices: Collection[int] | None = None) -> Iterator[Frame]:
        """The frames with `index % every == 0`, or exactly those in `indices`, in order; raises as `read_frames`."""
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

    def read(self, path: str | Path, every: int = 10, indices: Collection[int] | None = None) -> Iterator[Frame]:
        return read_frames(path, every, indices)

    def decode(self, path: str | Path, needed: Callable[[int], bool] | None = None) -> Generator[Decoded, None, int]:
        return decode(path, needed=needed)


class OnDevice:
    """A `FrameSource` that decodes on the CPU, for those who go on with its frames on the device `to`.

    A frame is sent when it is asked for, not when it is decoded.
    """

    def __init__(self, source: FrameSource, device: str) -> None:
        self.source = source
        self.name, self.device, self.to = source.name, source.device, device

    def read(self, path: str | Path, every: int = 10, indices: Collection[int] | None = None) -> Iterator[Frame]:
        for frame in self.source.read(path, every, indices):
            yield replace(frame, image=to_device(frame.image, self.to))

    def decode(self, path: str | Path, needed: Callable[[int], bool] | None = None) -> Generator[Decoded, None, int]:
        frames = self.source.decode(path, needed)
        try:
            while True:
                try:
                    decoded = next(frames)
                except StopIteration as end:
                    return int(end.value)
                yield replace(decoded, converter=self._sending(decoded.converter))
        finally:
            frames.close()

    def _sending(self, converter: Callable[[Any], Any]) -> Callable[[Any], Picture]:
        return lambda picture: to_device(converter(picture), self.to)

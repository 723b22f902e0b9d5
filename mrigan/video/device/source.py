"""A decoder whose frames are handed over on a device."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mrigan.video.device.pictures import to_device
from mrigan.video.frames import Decoded, Frame
from mrigan.video.source import FrameSource


class OnDevice:
    """A `FrameSource` that decodes on the CPU, for those who go on with its frames on the device `to`.

    A frame is sent when it is asked for, not when it is decoded.
    """

    def __init__(self, source: FrameSource, device: str) -> None:
        self.source = source
        self.name, self.device, self.to = source.name, source.device, device

    def read(self, path: str | Path, every: int = 10, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        for frame in self.source.read(path, every, wanted):
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

    def _sending(self, converter: Callable[[Any], Any]) -> Callable[[Any], Tensor]:
        return lambda picture: to_device(converter(picture), self.to)

"""Where frames come from: one interface over the decoders, and the rule that picks one.

`FrameSource.read` gives the same frames, by index and time, whichever decoder is behind it. Their colours are not the
same bit by bit (DALI interpolates 4:2:0 chroma, swscale repeats it: see docs/results.md). So the clips of one family
all go through one decoder: an MRI shows what a forger did, never what a decoder did.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from mrigan.config import VideoConfig
from mrigan.errors import InputError, MriganError
from mrigan.video.frames import Decoded, Frame, decode, read_frames

log = logging.getLogger(__name__)

_EXPLAINED: set[str] = set()


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


def family_source(config: VideoConfig, paths: Iterable[str | Path]) -> FrameSource:
    """Who decodes the clips of a family: a function of the settings and the files, not of the machine.

    `auto` is DALI where the device is a GPU and DALI takes every clip, by codec, pixel format, colours and soundness;
    else PyAV. Each reason is logged once. Files that nobody can open do not count.

    Raises:
        ConfigError: DALI or a GPU is asked for and not there.
        DecoderError: `dali` is asked for, and refuses a clip.
    """
    if config.decoder == "pyav" or (config.decoder == "auto" and config.device == "cpu"):
        return pyav_source(config)
    from mrigan.video.dali import DaliSource

    source = DaliSource(config.device)
    for path in paths:
        try:
            reason = source.refusal(path)
        except InputError:
            continue
        if reason and config.decoder == "dali":
            raise DecoderError(f"DALI does not decode this clip: {reason}", where=str(path), fix="video.decoder=auto")
        if reason:
            _explain(reason, os.fsdecode(path))
            return pyav_source(config)
    return source


def pyav_source(config: VideoConfig) -> FrameSource:
    """PyAV, with its frames on the device where they are worked on."""
    if config.device == "cpu":
        return PyAvSource()
    from mrigan.video.device import OnDevice

    return OnDevice(PyAvSource(), config.device)


def _explain(reason: str, where: str) -> None:
    """Log why PyAV decodes, each reason once in a process."""
    if reason not in _EXPLAINED:
        _EXPLAINED.add(reason)
        log.info("decoded by PyAV, as all such clips and their families: %s (%s)", reason, where)

"""The rule that picks the decoder of a family's clips."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from mrigan.config import VideoConfig
from mrigan.errors import InputError
from mrigan.video.dali import DaliSource
from mrigan.video.source import DecoderError, FrameSource, OnDevice, PyAvSource

log = logging.getLogger(__name__)

_EXPLAINED: set[str] = set()


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
    return OnDevice(PyAvSource(), config.device)


def _explain(reason: str, where: str) -> None:
    """Log why PyAV decodes, each reason once in a process."""
    if reason not in _EXPLAINED:
        _EXPLAINED.add(reason)
        log.info("decoded by PyAV, as all such clips and their families: %s (%s)", reason, where)

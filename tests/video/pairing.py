"""One fake paired with its original, in the two passes that packing makes for all fakes of a family."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mrigan.config import PairsConfig
from mrigan.errors import InputError
from mrigan.video import Frame, FrameSource, Paired, PyAvSource, follow
from mrigan.video.alignment import Boxes


def pair_frames(
    original: str | Path,
    fake: str | Path,
    wanted: Collection[int],
    config: PairsConfig,
    source: FrameSource | None = None,
    *,
    boxes: Boxes | None = None,
) -> Iterator[Paired]:
    """Pair the `wanted` frames of an original with one fake, in order. Several fakes share a pass with `follow`.

    The original is read twice: the fake as a whole tells which of its frames are taken.

    Args:
        boxes: of the faces in each wanted frame, in px of the original; without them the whole picture is compared.

    Raises:
        InputError, BrokenVideo: of the original, as `read_frames`; a bad fake gives `unreadable: ...` frames.
    """
    reader = source or PyAvSource()
    with follow([fake], config, wanted, reader, boxes=boxes) as (clip,):
        first = [(p.index, p.reason) for p in map(clip.pair, _up_to_damage(reader.read(original, indices=wanted)))]
        decision = clip.decide()
    broken = {index: reason for index, reason in first if reason.startswith("unreadable")}
    with follow([fake], config, wanted, reader, boxes=boxes, decisions=[decision]) as (clip,):
        for frame in reader.read(original, indices=wanted):
            paired = clip.pair(frame)
            yield replace(paired, reason=broken[frame.index]) if _lost(paired, broken) else paired


def _lost(paired: Paired, broken: Mapping[int, str]) -> bool:
    return bool(paired.reason) and paired.index in broken


def _up_to_damage(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The good frames of an original that breaks off; the second pass raises."""
    try:
        yield from frames
    except InputError:
        return

"""What was not looked at in an input, and why, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mrigan.config import FacesConfig
from mrigan.detect.findings import Findings
from mrigan.detect.verdict import Gap
from mrigan.text import counted

MAX_CHANGES = 6  # of a video's frame size that are listed


def gaps_of(findings: Findings, picture: bool, config: FacesConfig, cropped: bool) -> tuple[Gap, ...]:
    """What was not looked at, in the order in which a reader needs it."""
    if findings.error and not findings.frames:
        return (Gap("file", f"{_capital(findings.error)}."),)
    if not findings.frames:
        return ()
    return tuple(Gap(what, detail) for what, detail in _gaps(findings, picture, config, cropped))


def _gaps(findings: Findings, picture: bool, config: FacesConfig, cropped: bool) -> Iterator[tuple[str, str]]:
    frames, (w, h) = findings.frames, findings.size
    if findings.error:
        yield "rest_of_file", f"The file is damaged or cut off: {findings.error}."
    if findings.damaged:
        yield "damaged_frames", f"{_capital(findings.damaged)}; no face of them was looked at."
    if findings.others:
        yield "other_streams", f"Not looked at in this file: {'; '.join(findings.others)}."
    if len(findings.changes) > 1:
        yield "frame_size_changes", _size_changes(findings)
    if picture and (findings.total or 1) > 1:
        yield "other_pictures", f"Only the first of the file's {findings.total} pictures was looked at."
    of = f" of {findings.total}" if findings.total else ""
    if not picture and config.frames and frames < (findings.total or math.inf):
        yield "frames", f"{frames}{of} frames, evenly over the video, were looked at. --every 1 looks at all of them."
    if not picture and not config.frames and config.every > 1:
        yield "frames", f"One frame in {config.every} was looked at: {frames}{of}. --every 1 looks at all of them."
    if findings.empty and findings.faces:
        yield "frames_without_face", f"No face was found in {findings.empty} of the {frames} frames looked at."
    smallest = smallest_face((w, h), config)
    if not cropped and smallest > config.min_face:
        yield (
            "small_faces",
            (
                f"Faces under about {smallest} px were not looked for in frames of {w} × {h} px. "
                "--small-faces looks for them."
            ),
        )
    if findings.crowded and not cropped:
        show = "shows" if findings.crowded == 1 else "show"
        most = config.max_persons
        yield (
            "more_faces",
            (f"{counted(findings.crowded, 'frame')} {show} {most} faces or more; the {most} largest were looked at."),
        )


def smallest_face(size: tuple[int, int], config: FacesConfig) -> int:
    """The side of the smallest face that is looked for, in px of a frame of `size`."""
    by_side = max(size) / config.shrink / config.long_side if config.long_side else 1.0
    return math.ceil(config.min_face * config.shrink * max(by_side, 1.0))


def _size_changes(findings: Findings) -> str:
    """That the frames have several sizes, and which; they were looked at in one."""
    sizes = [f"{w} × {h} px from {time:.1f} s" for time, (w, h) in findings.changes]
    more = len(sizes) - MAX_CHANGES
    listed = ", ".join(sizes[:MAX_CHANGES]) + (f", and {more} more" if more > 0 else "")
    count, (w, h) = len(sizes) - 1, findings.size
    times = "once" if count == 1 else f"{count} times"
    return (
        f"The size of the frames changes {times}: {listed}. All of them were brought to {w} × {h} px, and none was "
        "stretched; those that were smaller show less detail."
    )


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"

"""A copy of a video with what the verdict says of each face drawn on it: box, person, probability."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from mrigan.detect.verdict import FaceScore, Verdict
from mrigan.detect.wording import number
from mrigan.errors import InputError
from mrigan.files import atomic_write
from mrigan.outputs import VIDEO_NOTE
from mrigan.video import BrokenVideo, read_frames

TICKS = 90_000  # a second, of the copy's time stamps
REACH = 1.5  # median distances between a person's faces: over a longer gap no box is drawn
FAKE, REAL = (238, 100, 60), (92, 190, 220)  # RGB; above the threshold, and not
CRF = "20"


@dataclass(frozen=True)
class Shown:
    """A box on one frame. `looked`: this very face was looked at; else it lies between two that were."""

    person: int
    box: tuple[float, float, float, float]
    prob: float
    looked: bool


class Faces:
    """Where the faces of a verdict are on any frame: between two that were looked at, the box moves straight."""

    def __init__(self, verdict: Verdict) -> None:
        self._people: dict[int, list[FaceScore]] = {}
        for face in verdict.faces:
            self._people.setdefault(face.person, []).append(face)
        self._frames = {person: [f.frame for f in faces] for person, faces in self._people.items()}
        steps = sorted(b - a for frames in self._frames.values() for a, b in pairwise(frames))
        self._reach = REACH * steps[len(steps) // 2] if steps else 0.0

    def on(self, frame: int) -> list[Shown]:
        """The boxes to draw on a frame; a probability is always that of the last face that was looked at."""
        boxes = []
        for person, faces in self._people.items():
            at = bisect_right(self._frames[person], frame) - 1
            if at < 0:
                continue
            last, after = faces[at], faces[at + 1] if at + 1 < len(faces) else None
            gap = frame - last.frame
            if gap == 0:
                boxes.append(Shown(person, last.box, last.prob, True))
            elif after is not None and after.frame - last.frame <= self._reach:
                share = gap / (after.frame - last.frame)
                box = np.array(last.box) * (1 - share) + np.array(after.box) * share
                boxes.append(Shown(person, tuple(box.tolist()), last.prob, False))
        return boxes


def annotate(verdict: Verdict, out: str | Path) -> int:
    """Write the video that `verdict` is about as H.264 in MP4, without sound, whole or not at all.

    A thick box is a face that was looked at, a thin one lies between two such. A file that is cut off gives the frames
    that can be read.

    Returns:
        The frames written.

    Raises:
        InputError: the video cannot be read.
    """
    faces, count, pts = Faces(verdict), 0, -1
    with atomic_write(out) as file, av.open(file, "w", format="mp4") as container:
        stream: Any = None
        for time, picture in _drawn(verdict, faces):
            if stream is None:
                container.metadata["comment"] = VIDEO_NOTE
                stream = container.add_stream("libx264", options={"crf": CRF, "preset": "veryfast"})
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = stream.time_base = Fraction(1, TICKS)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            pts = max(round(time * TICKS), pts + 1)
            frame.pts, frame.time_base = pts, Fraction(1, TICKS)
            container.mux(stream.encode(frame))
            count += 1
        if stream is None:
            raise InputError("no frame can be read", where=verdict.path)
        container.mux(stream.encode())
    return count


def draw(picture: np.ndarray, boxes: Sequence[Shown], threshold: float) -> np.ndarray:
    """A copy of an (H, W, 3) uint8 RGB picture, cut to even sides, with the boxes; lines and letters fit its size."""
    h, w = (n - n % 2 for n in picture.shape[:2])
    if not h or not w:
        raise InputError(f"frames of {picture.shape[1]} × {picture.shape[0]} px cannot be encoded")
    drawn = np.ascontiguousarray(picture[:h, :w].copy())
    unit = max(1, round(min(h, w) / 360))
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.45 * unit
    for face in boxes:
        colour = FAKE if face.prob > threshold else REAL
        x0, y0, x1, y1 = (round(v) for v in face.box)
        cv2.rectangle(drawn, (x0, y0), (x1, y1), colour, (2 if face.looked else 1) * unit)
        text = f"{face.person + 1}: {number(face.prob)}"
        (width, height), below = cv2.getTextSize(text, font, scale, unit)
        left = min(max(x0, 0), max(w - width - 4 * unit, 0))
        top = y0 - height - below - 4 * unit if y0 >= height + below + 4 * unit else min(y1, h - height - 4 * unit)
        cv2.rectangle(drawn, (left, top), (left + width + 4 * unit, top + height + below + 2 * unit), (0, 0, 0), -1)
        cv2.putText(drawn, text, (left + 2 * unit, top + height + unit), font, scale, colour, unit, cv2.LINE_AA)
    return drawn


def _drawn(verdict: Verdict, faces: Faces) -> Iterator[tuple[float, np.ndarray]]:
    try:
        for frame in read_frames(verdict.path, 1):
            picture = draw(frame.image, faces.on(frame.index), verdict.thresholds.frame)
            yield frame.time, picture
    except BrokenVideo:
        return  # the verdict says that the rest is missing

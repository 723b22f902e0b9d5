"""The pictures of an input that are kept to be shown: as few of an hour as of ten seconds.

Kept are the most suspicious faces; of each person the most suspicious face's frame, shrunk; and thumbnails spread over
the time that a person is seen.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import cv2
import numpy as np

from mrigan.video import Detection, expand_box
from mrigan.video.tracks import GAP

SCENE = 640  # px, the longer side of a kept frame
CLOSE, REACH = 320, 0.25  # px, the side of a close-up; what of the cut it shows on each side of it
THUMBNAIL, STRIP = 96, 12  # px; thumbnails of a person
TRACKS = 16  # people whose pictures are held while an input is looked at


@dataclass(frozen=True)
class Scene:
    """Where a face was: the frame, shrunk, and a close-up of the face's surroundings, each (h, w, 3) uint8 RGB.

    Args:
        box: as the face was found, in px of `frame`. cut: what the networks were shown of it, in px of `frame`.
        close_cut: the same, in px of `close`.
    """

    frame: np.ndarray
    box: tuple[float, float, float, float]
    cut: tuple[float, float, float, float]
    close: np.ndarray
    close_cut: tuple[float, float, float, float]


@dataclass(frozen=True)
class Example:
    """A face kept to be shown: (S, S, 3) uint8 RGB; its MRI where the model has a generator; where it was."""

    frame: int
    box: tuple[float, float, float, float]
    prob: float
    face: np.ndarray
    mri: np.ndarray | None = None
    scene: Scene | None = None


class FrameView:
    """A frame of which scenes are taken: it is shrunk once, however many faces it has."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        h, w = image.shape[:2]
        self.scale = min(1.0, SCENE / max(h, w))
        self._small: np.ndarray | None = None

    def scene(self, detection: Detection, margin: float, whole: bool) -> Scene:
        """The surroundings of a face.

        Args:
            margin: of the box, that the networks were shown. whole: they were shown the whole picture.
        """
        h, w = self.image.shape[:2]
        if self._small is None:
            self._small = shrunk(self.image, self.scale)
        cut = (0, 0, w, h) if whole else expand_box(detection.box, margin, (w, h))
        x0, y0, x1, y1 = cut if whole else expand_box(cut, REACH, (w, h))
        near = self.image[y0:y1, x0:x1]
        scale = min(1.0, CLOSE / max(near.shape[:2]))
        close = shrunk(near, scale)
        moved = (cut[0] - x0, cut[1] - y0, cut[2] - x0, cut[3] - y0)
        return Scene(
            self._small, _scaled(detection.box, self.scale), _scaled(cut, self.scale), close, _scaled(moved, scale)
        )


@dataclass
class _PersonPictures:
    faces: int = 0
    last: float = 0.0  # s, when it was seen last
    stride: int = 1  # each so many faces gives a thumbnail
    best: Example | None = None
    strip: list[Example] = field(default_factory=list)


class Album:
    """The pictures of one input.

    Args:
        keep: the most suspicious faces kept, whoever's.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self._top: list[tuple[float, int, Example]] = []  # a heap, the least suspicious on top
        self._tracks: dict[int, _PersonPictures] = {}
        self._order = count()

    def add(self, example: Example, track: int, time: float) -> None:
        """Take a face or let it go. Faces come in order of time; `track` is its number while it is followed."""
        plain = replace(example, scene=None)
        entry = (example.prob, -next(self._order), plain)  # among equals the earlier stays
        (heapq.heappush if len(self._top) < self.keep else heapq.heappushpop)(self._top, entry)
        person = self._tracks.setdefault(track, _PersonPictures())
        if person.best is None or example.prob > person.best.prob:
            person.best = example
        if person.faces % person.stride == 0:
            person.strip.append(replace(plain, face=shrunk(plain.face, THUMBNAIL / len(plain.face))))
            if len(person.strip) > 2 * STRIP:
                person.strip, person.stride = person.strip[::2], 2 * person.stride
        person.faces, person.last = person.faces + 1, time
        if len(self._tracks) > TRACKS:  # whoever is gone, and was there least
            others = (number for number in self._tracks if number != track)
            del self._tracks[min(others, key=lambda n: (time - self._tracks[n].last <= GAP, self._tracks[n].faces))]

    def suspicious(self) -> list[Example]:
        """The kept faces, the most suspicious first."""
        return [example for _, _, example in sorted(self._top, key=lambda e: e[:2], reverse=True)]

    def people(self) -> list[tuple[Example, list[Example]]]:
        """Of each person whose pictures are still held: the most suspicious face with its scene, and the strip."""
        return [(track.best, _spread(track.strip)) for track in self._tracks.values() if track.best is not None]


def shrunk(picture: np.ndarray, scale: float) -> np.ndarray:
    """A copy of an (H, W, 3) picture, `scale` (at most 1) times its size."""
    h, w = picture.shape[:2]
    if scale >= 1:
        return picture.copy()
    return cv2.resize(picture, (max(1, round(w * scale)), max(1, round(h * scale))), interpolation=cv2.INTER_AREA)


def _scaled(box: Sequence[float], scale: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(v) * scale for v in box)
    return x0, y0, x1, y1


def _spread(strip: list[Example]) -> list[Example]:
    """At most `STRIP` of them, evenly over their order."""
    if len(strip) <= STRIP:
        return strip
    return [strip[i] for i in np.linspace(0, len(strip) - 1, STRIP).round().astype(int)]

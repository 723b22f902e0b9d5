"""Following faces through a clip, so that a person index is one person.

Where a face may be is told by its place, size and motion. Whether it is still the same face is told by how unlike the
track's last looks it is, and by how far what is around it has changed, both beyond what is usual in this very track
(`mrigan.video.sameness`). At a shot change all tracks end. So one person may get several numbers; two people should
not share one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mrigan.imaging.picture import Picture
from mrigan.video.appearance import Look, look_of
from mrigan.video.face import Detection, Face
from mrigan.video.sameness import Memory, Seen, Shots

GAP = 6.0  # seconds that a face may be out of sight and still be the same person where it reappears
REACH = 1.0  # of the face's size: how far a centre may move between two samples
MAX_COST = 1.6
MAX_RATIO = 2.5  # of areas: a face does not grow faster between two samples
AHEAD = 1.0  # seconds that a motion is taken to go on

LOOK_COST = 0.5  # of the assignment: how much looks weigh beside places

Box = Sequence[float]


@dataclass
class _Track:
    number: int
    box: Box
    time: float
    area: float = 0.0
    velocity: tuple[float, float] = (0.0, 0.0)  # px a second
    members: list[tuple[int, float, Detection]] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    sample: int = -1  # the number of the last one that shows it
    ended: bool = False

    def append(self, frame: int, time: float, detection: Detection) -> None:
        if self.members and time > self.time:
            (x, y), (px, py), dt = _centre(detection.box), _centre(self.box), time - self.time
            vx, vy = self.velocity
            self.velocity = (vx + (x - px) / dt) / 2, (vy + (y - py) / dt) / 2
        self.members.append((frame, time, detection))
        self.box, self.time = detection.box, time
        self.area += detection.area

    def expected(self, time: float) -> Box:
        """Where the face should be by its motion: two people who pass each other keep their ways."""
        dt = min(time - self.time, AHEAD)
        dx, dy = self.velocity[0] * dt, self.velocity[1] * dt
        return self.box[0] + dx, self.box[1] + dy, self.box[2] + dx, self.box[3] + dy


class Tracker:
    """Joins the detections of successive samples into tracks by an optimal assignment.

    The cost of a pair is (1 − IoU) plus the distance of the centres in face sizes, between the detection and where the
    track should be by its motion, plus a part of how strange the face looks; pairs too far apart, of too different a
    size, or of another face are never joined. The order of the detections within a frame does not matter.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._shots = Shots()
        self._cut_off: list[_Track] = []  # by the last cut
        self._samples = 0

    def add(self, frame: int, time: float, detections: Sequence[Detection], image: Picture | None = None) -> list[int]:
        """Take the next sampled frame (index, seconds, its faces).

        Args:
            image: the frame, (H, W, 3) uint8 RGB; without it, places alone decide.

        Returns:
            The number of each face's track, in the order given; `faces` numbers the persons otherwise.
        """
        given = detections
        detections = sorted(detections, key=lambda d: (-d.area, d.box))
        seen = None if image is None else Seen(image)
        looks = [None if image is None else look_of(image, d.box, d.points) for d in detections]
        if seen is not None:
            self._heed(self._shots.add(seen.shot))
        for track in self._tracks:
            if time - track.time > GAP:
                track.memory.forget()
        open_tracks = [t for t in self._tracks if not t.ended and time - t.time <= GAP]
        owners: dict[int, _Track] = {}  # by place among the detections
        if open_tracks and detections:
            cost = np.array([self._costs(track, time, detections, looks, seen) for track in open_tracks])
            for row, column in _assigned(cost):
                if math.isfinite(cost[row, column]):
                    owners[column] = open_tracks[row]
        number: dict[int, int] = {}  # of the track, by identity of the detection
        for place, (detection, look) in enumerate(zip(detections, looks, strict=True)):
            if place not in owners:
                owners[place] = _Track(len(self._tracks), detection.box, time)
                self._tracks.append(owners[place])
            track = owners[place]
            track.append(frame, time, detection)
            track.sample = self._samples
            if look is not None and seen is not None:
                track.memory.add(detection.box, look, seen)
            number[id(detection)] = track.number
        self._samples += 1
        return [number[id(detection)] for detection in given]

    def _heed(self, what: str) -> None:
        """End the tracks at a cut; take those up again that a single other frame had cut off."""
        if not what:
            self._cut_off = []
            return
        ending = [track for track in self._tracks if not track.ended]
        for track in ending:
            track.ended = True
        for track in self._cut_off if what == "back" else []:
            track.ended = False
        self._cut_off = ending if what == "cut" else []

    def _costs(self, track: _Track, time: float, detections: Sequence[Detection], looks: Sequence[Look | None],
               seen: Seen | None) -> list[float]:  # fmt: skip
        """What it costs to join each detection to a track; infinite = never."""
        expected, later, costs = track.expected(time), track.sample < self._samples - 1, []
        for detection, look in zip(detections, looks, strict=True):
            cost = _cost(expected, detection.box)
            if cost > MAX_COST:
                cost = math.inf
            elif look is not None and seen is not None:
                cost += LOOK_COST * track.memory.strangeness(look, seen, later=later)
            costs.append(cost)
        return costs

    def faces(self) -> list[Face]:
        """All faces, by frame then person; persons are numbered by total area, the first seen first among equals."""
        order = sorted(self._tracks, key=lambda t: (-t.area, t.number))
        faces = [
            Face(frame, time, person, d.box, d.prob, d.points)
            for person, track in enumerate(order)
            for frame, time, d in track.members
        ]
        return sorted(faces, key=lambda f: (f.frame, f.person))


def _assigned(cost: np.ndarray) -> list[tuple[int, int]]:
    """Which rows and columns belong together, so that the sum of their costs is least."""
    if cost.size == 1:
        return [(0, 0)]
    from scipy.optimize import linear_sum_assignment  # takes longer to import than a short clip of one person to track

    return list(zip(*(places.tolist() for places in linear_sum_assignment(np.minimum(cost, 1e3))), strict=True))


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1), 0..1."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    both = w * h
    return both / (_area(a) + _area(b) - both)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _cost(a: Box, b: Box) -> float:
    small, large = sorted((_area(a), _area(b)))
    (ax, ay), (bx, by) = _centre(a), _centre(b)
    distance = math.hypot(ax - bx, ay - by) / (small * large) ** 0.25
    if distance > REACH or large > MAX_RATIO * small:
        return math.inf
    return 1.0 - iou(a, b) + distance

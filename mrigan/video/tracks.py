"""Following faces through a clip, so that a person index is one person."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mrigan.video.faces import Detection, Face

GAP = 6.0  # seconds that a face may be out of sight and still be the same person where it reappears
REACH = 1.0  # of the face's size: how far a centre may move between two samples
MAX_COST = 1.6
MAX_RATIO = 2.5  # of areas: a face does not grow faster between two samples
AHEAD = 1.0  # seconds that a motion is taken to go on

Box = Sequence[float]


@dataclass
class _Track:
    number: int
    box: Box
    time: float
    area: float = 0.0
    velocity: tuple[float, float] = (0.0, 0.0)  # px a second
    members: list[tuple[int, float, Detection]] = field(default_factory=list)

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
    track should be by its motion; pairs too far apart or of too different a size are never joined. The order of the
    detections within a frame does not matter.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []

    def add(self, frame: int, time: float, detections: Sequence[Detection]) -> list[int]:
        """Take the next sampled frame (index, seconds, its faces).

        Returns:
            The number of each face's track, in the order given; `faces` numbers the persons otherwise.
        """
        given = detections
        detections = sorted(detections, key=lambda d: (-d.area, d.box))
        number: dict[int, int] = {}  # of the track, by identity of the detection
        open_tracks = [t for t in self._tracks if time - t.time <= GAP]
        joined: set[int] = set()
        if open_tracks and detections:
            from scipy.optimize import linear_sum_assignment  # a picture has no track to join: it is not needed

            cost = np.array([[_cost(t.expected(time), d.box) for d in detections] for t in open_tracks])
            for row, column in zip(*linear_sum_assignment(np.minimum(cost, 1e3)), strict=True):
                if cost[row, column] <= MAX_COST:
                    open_tracks[row].append(frame, time, detections[column])
                    joined.add(int(column))
                    number[id(detections[column])] = open_tracks[row].number
        for column, detection in enumerate(detections):
            if column not in joined:
                track = _Track(len(self._tracks), detection.box, time)
                track.append(frame, time, detection)
                self._tracks.append(track)
                number[id(detection)] = track.number
        return [number[id(detection)] for detection in given]

    def faces(self) -> list[Face]:
        """All faces, by frame then person; persons are numbered by total area, the first seen first among equals."""
        order = sorted(self._tracks, key=lambda t: (-t.area, t.number))
        faces = [
            Face(frame, time, person, d.box, d.prob, d.points)
            for person, track in enumerate(order)
            for frame, time, d in track.members
        ]
        return sorted(faces, key=lambda f: (f.frame, f.person))


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

"""Following faces through a clip, so that a person index is one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mrigan.video.faces import Detection, Face

GAP = 6.0  # seconds that a face may be out of sight and still be the same person where it reappears
REACH = 1.0  # of the face's size: how far a centre may move between two samples
MAX_COST = 1.6
MAX_RATIO = 2.5  # of areas: a face does not grow faster between two samples


@dataclass
class _Track:
    number: int
    last: Detection
    frame: int
    time: float
    area: float = 0.0
    members: list[tuple[int, float, Detection]] = field(default_factory=list)

    def append(self, frame: int, time: float, detection: Detection) -> None:
        self.members.append((frame, time, detection))
        self.last, self.frame, self.time = detection, frame, time
        self.area += detection.area


class Tracker:
    """Joins the detections of successive samples into tracks by an optimal assignment.

    The cost of a pair is (1 − IoU) plus the distance of the centres in face sizes; pairs too far apart or of too
    different a size are never joined. The order of the detections within a frame does not matter.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []

    def add(self, frame: int, time: float, detections: Sequence[Detection]) -> None:
        """Take the next sampled frame (index, seconds, its faces)."""
        from scipy.optimize import linear_sum_assignment

        detections = sorted(detections, key=lambda d: (-d.area, d.box))
        open_tracks = [t for t in self._tracks if time - t.time <= GAP]
        joined: set[int] = set()
        if open_tracks and detections:
            cost = np.array([[_cost(t.last, d) for d in detections] for t in open_tracks])
            for row, column in zip(*linear_sum_assignment(np.minimum(cost, 1e3)), strict=True):
                if cost[row, column] <= MAX_COST:
                    open_tracks[row].append(frame, time, detections[column])
                    joined.add(int(column))
        for column, detection in enumerate(detections):
            if column not in joined:
                track = _Track(len(self._tracks), detection, frame, time)
                track.append(frame, time, detection)
                self._tracks.append(track)

    def faces(self) -> list[Face]:
        """All faces, by frame then person; persons are numbered by total area, the first seen first among equals."""
        order = sorted(self._tracks, key=lambda t: (-t.area, t.number))
        faces = [
            Face(frame, time, person, d.box, d.prob, d.points)
            for person, track in enumerate(order)
            for frame, time, d in track.members
        ]
        return sorted(faces, key=lambda f: (f.frame, f.person))


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1), 0..1."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    both = w * h
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _cost(a: Detection, b: Detection) -> float:
    small, large = sorted((a.area, b.area))
    size = float(np.sqrt(np.sqrt(a.area * b.area)))
    dx = (a.box[0] + a.box[2] - b.box[0] - b.box[2]) / 2
    dy = (a.box[1] + a.box[3] - b.box[1] - b.box[3]) / 2
    distance = float(np.hypot(dx, dy)) / size
    if distance > REACH or large > MAX_RATIO * small:
        return float("inf")
    return 1.0 - iou(a.box, b.box) + distance

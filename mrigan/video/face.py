"""What is found in pictures and clips: detections, faces, and the table of a clip's faces."""

from __future__ import annotations

from dataclasses import dataclass, field

PROB_GRID = 1 / 65_536  # of probabilities, as `coordinates.GRID` of places


@dataclass(frozen=True)
class Detection:
    """One face in one picture.

    Args:
        box: (x0, y0, x1, y1) in px of the picture given, inside it; multiples of `coordinates.GRID`.
        prob: MTCNN's probability, 0..1, a multiple of `PROB_GRID`.
        points: eyes, nose, corners of the mouth: 5 × (x, y) in px, multiples of it.
    """

    box: tuple[float, float, float, float]
    prob: float
    points: tuple[tuple[float, float], ...]

    @property
    def area(self) -> float:
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


@dataclass(frozen=True)
class Face:
    """A detection in a clip: `frame` index, `time` in seconds, `person` from 0 (one index, one person)."""

    frame: int
    time: float
    person: int
    box: tuple[float, float, float, float]
    prob: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class FaceTable:
    """All faces of a clip, ordered by frame, then person.

    Args:
        frames: sampled frames that were looked at, with a face or not.
        frame_size: (w, h) in px as displayed; (0, 0) when no frame was seen.
        note: "" or why the table ends early (a cut-off file).
    """

    faces: list[Face] = field(default_factory=list)
    frames: int = 0
    frame_size: tuple[int, int] = (0, 0)
    note: str = ""

    def by_frame(self) -> dict[int, list[Face]]:
        """Frame index → its faces, by person."""
        table: dict[int, list[Face]] = {}
        for face in self.faces:
            table.setdefault(face.frame, []).append(face)
        return table

"""The geometry of the timeline: probabilities over time, a row a person, in percent of the drawing's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mrigan.detect.findings import MAX_PEOPLE_SHOWN
from mrigan.detect.verdict import PersonVerdict, Verdict
from mrigan.detect.wording import number

TICKS = 6  # at most
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)  # seconds between ticks
EDGE = 1.5  # percent left free at both sides, for the dots
GAP = 2.5  # median distances between faces; over a longer gap no line is drawn


@dataclass(frozen=True)
class Dot:
    """A face: `x` and `y` in percent, `y` = 0 at the top, which is probability 1."""

    x: float
    y: float
    above: bool
    title: str


@dataclass(frozen=True)
class TimelineRow:
    person: PersonVerdict
    dots: Sequence[Dot]
    lines: Sequence[tuple[Dot, Dot]]


@dataclass(frozen=True)
class Timeline:
    """Rows, the height of the threshold in percent, and ticks (x in percent, text)."""

    rows: Sequence[TimelineRow]
    threshold: float
    ticks: Sequence[tuple[float, str]]
    unit: str
    hidden: int


def timeline(verdict: Verdict) -> Timeline | None:
    """The timeline of a verdict on a video; None where the faces are of one moment."""
    faces, limit = verdict.faces, verdict.thresholds.frame
    end = max((face.time for face in faces), default=0.0)
    if end <= 0:
        return None

    def x(time: float) -> float:
        return round(EDGE + (100 - 2 * EDGE) * time / end, 2)

    persons = sorted(verdict.persons, key=lambda p: (-p.faces, p.person))
    rows = []
    for person in persons[:MAX_PEOPLE_SHOWN]:
        mine = [face for face in faces if face.person == person.person]
        dots = [
            Dot(
                x(f.time),
                round(100 * (1 - f.prob), 2),
                f.prob > limit,
                f"{clock(f.time, end)}, frame {f.frame}: {number(f.prob)}",
            )
            for f in mine
        ]
        steps = sorted(b.time - a.time for a, b in pairwise(mine))
        near = GAP * steps[len(steps) // 2] if steps else 0
        lines = [(a, b) for (a, f), (b, g) in pairwise(zip(dots, mine, strict=True)) if g.time - f.time <= near]
        rows.append(TimelineRow(person, dots, lines))
    step = next((s for s in STEPS if end / s < TICKS), 14_400)
    ticks = [(x(i * step), clock(i * step, end)) for i in range(int(end / step + 1e-9) + 1)]
    unit = "seconds" if end < 60 else "minutes:seconds" if end < 3600 else "hours:minutes:seconds"
    return Timeline(rows, round(100 * (1 - limit), 2), ticks, unit, max(len(persons) - MAX_PEOPLE_SHOWN, 0))


def clock(seconds: float, end: float) -> str:
    """A moment of a video that is `end` seconds long: 7.5, 1:07 or 1:01:07."""
    if end < 60:
        return f"{seconds:.1f}".removesuffix(".0")
    whole = round(seconds)
    minutes = f"{whole // 60 % 60}:{whole % 60:02}"
    return minutes if end < 3600 else f"{whole // 3600}:{minutes:0>5}"

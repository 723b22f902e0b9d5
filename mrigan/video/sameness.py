"""Whether a face is still the face of a track, and a frame still of the shot: both by what was usual there so far.

A wild clip changes much from sample to sample, a calm interview hardly. So no fixed distance tells; how far a face, and
what is around it, differ *beyond what is usual in this very track* does. The limits below were set on real clips;
benchmarks/tracks.py measures what they get wrong.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mrigan.imaging.picture import Picture
from mrigan.video.appearance import Look, Shot, around, shot_difference, shot_of, small_of, unlikeness

LOOKS = 6  # of a track, that a face is compared with
RECENT = 8  # samples that say what is usual
KNOWN = 2  # of them are enough
USUAL_STEP, USUAL_CHANGE = 0.5, 0.2  # unlikeness and difference, until there are so many

ALIKE = 0.6  # unlikeness up to which a face is the same, whatever else has changed
STRANGE = 2.5  # unlikeness beyond the usual above which a face is another one, in successive samples; a turned head: 2
STRANGE_LATER = 1.5  # the same after a gap
STRANGE_ELSEWHERE = 0.7  # the same where what is around the face has changed, too
CHANGED = 0.15  # difference beyond twice the usual, from which on it has
FADE = (
    3  # samples in which one picture may fade into another, each step of it small: both are compared with those before
)
CUT = 0.8  # difference of frames beyond the usual: another shot

Box = Sequence[float]


class Seen:
    """A sampled frame: itself, and what it shows around a place."""

    def __init__(self, image: Picture) -> None:
        self.size = (image.shape[1], image.shape[0])
        self.small: np.ndarray = small_of(image)
        self.shot = shot_of(self.small)
        self._around: dict[tuple[float, ...], Shot] = {}

    def around(self, box: Box) -> Shot:
        """What is around a box, px of the frame."""
        place = tuple(box)
        if place not in self._around:
            self._around[place] = shot_of(around(self.small, box, self.size))
        return self._around[place]


class Memory:
    """How the last faces of one track looked, and the small frames that they were in."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque(maxlen=LOOKS + FADE)
        self._places: deque[tuple[Box, Seen]] = deque(maxlen=RECENT + 1)
        self._steps: deque[float] = deque(maxlen=RECENT)
        self._asked: tuple[Look | None, float] = (
            None,
            0.0,
        )  # the last look, and how unlike the track's last ones it is

    def add(self, box: Box, look: Look, seen: Seen) -> None:
        """Take the track's next face."""
        if self._looks:
            self._steps.append(self._unlike(look))
        self._looks.append(look)
        self._places.append((box, seen))

    def forget(self) -> None:
        """Let go of the pictures of a track that is over."""
        self._looks.clear()
        self._places.clear()

    def strangeness(self, look: Look, seen: Seen, *, later: bool) -> float:
        """How far a face of the frame `seen` is from looking like this track's; infinite where it is another face.

        Args:
            later: the track has no face in the sample before.
        """
        if not self._looks:
            return 0.0
        usual, unlike = usual_of(self._steps, USUAL_STEP), self._unlike(look)
        if unlike <= ALIKE:  # most are; only for the others their surroundings are looked at
            return 0.0
        usual_change = usual_of(self._changes(), USUAL_CHANGE)
        changed = _change(self._places[-1], seen) > CHANGED + 2 * usual_change
        limit = STRANGE_ELSEWHERE if changed else STRANGE_LATER if later else STRANGE
        if unlike - usual > limit:
            return math.inf
        before = list(self._looks)[:-FADE]
        if before:
            then = list(self._places)[-1 - FADE]
            faded = _change(then, seen) > CHANGED + 2 * FADE * usual_change
            faded |= shot_difference(then[1].shot, seen.shot) > CUT
            if self._nearest(look, before) - usual > (STRANGE_ELSEWHERE if faded else STRANGE):
                return math.inf
        return max(unlike - usual, 0.0)

    def _changes(self) -> list[float]:
        """How far what is around the face changed in each of the last steps."""
        places = list(self._places)
        return [_change(then, now[1]) for then, now in pairwise(places)]

    def _unlike(self, look: Look) -> float:
        if self._asked[0] is not look:  # mostly a look is compared, then added
            self._asked = look, self._nearest(look, list(self._looks)[-LOOKS:])
        return self._asked[1]

    @staticmethod
    def _nearest(look: Look, looks: Sequence[Look]) -> float:
        return min(unlikeness(mine, look) for mine in looks)


class Shots:
    """The frames of the shot at hand: how far they usually differ, and whether a new one is of another shot."""

    def __init__(self) -> None:
        self._last: Shot | None = None
        self._steps: deque[float] = deque(maxlen=RECENT)
        self._before: tuple[Shot, deque[float]] | None = None  # the shot that ended one sample ago

    def add(self, shot: Shot) -> str:
        """Take the next frame: "" = the shot goes on; `cut`; `back` = one other frame (a flash) lay between."""
        last, before = self._last, self._before
        self._last, self._before = shot, None
        if last is None:
            return ""
        step = shot_difference(last, shot)
        if step <= CUT + usual_of(self._steps, USUAL_CHANGE):
            self._steps.append(step)
            return ""
        if before is not None and shot_difference(before[0], shot) <= CUT + usual_of(before[1], USUAL_CHANGE):
            self._steps = before[1]
            return "back"
        self._before, self._steps = (last, self._steps), deque(maxlen=RECENT)
        return "cut"


def _change(then: tuple[Box, Seen], now: Seen) -> float:
    """How far what is around a box has changed since another frame."""
    box, seen = then
    return shot_difference(seen.around(box), now.around(box))


def usual_of(steps: Sequence[float], before: float) -> float:
    """The median of the last steps, or what is usual `before` there are enough."""
    return statistics.median(steps) if len(steps) >= KNOWN else before

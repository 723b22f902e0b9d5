"""Whether a frame of the original lies at a frame of the fake, or between two of them: told by the fake's own steps.

A frame that does not exist any more has two neighbours that fit it equally badly, so no comparison of fits shows that
both are wrong. The step from one frame of the fake to the next does: of the way from frame j to frame k, a frame of the
original that shows the moment of j has gone nothing, one that lies between has gone a part, and one on the other side
of j a negative part. With D the mean squared difference of two frames over the places compared, that part is

    (1 - (D(original, k) - D(original, j)) / D(j, k)) / 2

whatever noise the original has against both. It is looked at towards the nearest frames on both sides that show another
moment than j does (converters repeat frames).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrigan.video.lags import FLOOR, LagTable

REACH = 3  # frames each way that may show what the frame itself shows
STEP = 1.0  # grey levels squared: less is no step
WAY = 0.25  # of the way to a neighbour, from which on a frame is not where it should be
CERTAIN = 2.7  # standard errors, seen from both sides; aligned clips stay below 2.6
DRIFT = 0.1  # of a frame, of a whole clip: aligned clips have at most .05
SCATTERED = 1.1  # standard errors, root mean square over a clip; aligned clips have at most .95
NEAR = 0.4  # of the way, with that error, up to which it surely is
POINTS = 10  # independent places that the noise of a few hundred is worth
SURE = 2.0  # standard errors


@dataclass(frozen=True)
class Bearings:
    """Where each wanted frame lies, seen from its frame of the fake; towards the frames before and after (n, 2).

    Args:
        way: part of the way that it has gone; NaN where no step leads there.
        error: its standard error.
    """

    way: np.ndarray
    error: np.ndarray

    @property
    def astray(self) -> np.ndarray:
        """The rows that surely lie elsewhere, by themselves or as a run."""
        far = np.abs(self.way)
        found = ((far > WAY) & (far > SURE * self.error)).any(1)
        later, weight = self._later()
        found |= np.abs(later) > np.maximum(WAY * weight, CERTAIN * np.sqrt(weight))
        for sign in (1, -1):
            sums = np.concatenate([[0.0], np.cumsum(sign * later - WAY * weight)])
            first = np.minimum.accumulate(sums)  # the best run that ends at each row begins where the sum was least
            end = int((sums - first).argmax())
            run = slice(int(sums[: end + 1].argmin()), end)
            if abs(later[run].sum()) > CERTAIN * np.sqrt(weight[run].sum()):
                found[run] = True
        return np.asarray(found)

    def out_of_step(self, rows: np.ndarray) -> bool:
        """Whether some rows do not lie at their frames of the fake on the whole, though none of them surely."""
        later, weight = (each[rows] for each in self._later())
        seen = weight > 0
        if not seen.any():
            return False
        spread = np.sqrt((later[seen] ** 2 / weight[seen]).mean())
        total, all_weight = later.sum(), weight.sum()
        return bool(spread > SCATTERED or abs(total) > max(DRIFT * all_weight, CERTAIN * np.sqrt(all_weight)))

    def _later(self) -> tuple[np.ndarray, np.ndarray]:
        """How much later than its frame of the fake each row lies, in frames, times its weight; and that weight.

        Noise turns both ways outwards alike, and so cancels out.
        """
        weight = 1 / self.error**2
        both = np.isfinite(self.way).all(1)
        later = np.where(both, self.way[:, 1] * weight[:, 1] - self.way[:, 0] * weight[:, 0], 0.0)
        return later, np.where(both, weight.sum(1), 0.0)

    @property
    def sure(self) -> np.ndarray:
        """The rows that surely lie where they should, seen from both sides."""
        return np.asarray((np.abs(self.way) + SURE * self.error < NEAR).all(1))


def bearings(table: LagTable, kept: np.ndarray) -> Bearings:
    """Take the bearings of the rows of a table, at its path.

    Args:
        kept: the rows that tell how much noise is usual.
    """
    clips, targets = table.clips, table.base + table.path
    place = {int(column): n for n, column in enumerate(clips.columns)}
    way = np.full((len(targets), 2), np.nan)
    step = np.full((len(targets), 2), np.nan)
    here = np.full(len(targets), np.nan)
    kept = kept & table.present()
    for row, target in enumerate(targets.tolist()):
        if target not in place:
            continue
        seen = table.seen[row]
        count = max(int(seen.sum()), 1)
        ours = clips.ours[row, table.chosen].astype(np.int64)

        def frame(index: int) -> np.ndarray:
            return clips.theirs[place[index], table.chosen].astype(np.int64)

        def difference(one: np.ndarray, other: np.ndarray, seen: np.ndarray = seen, count: int = count) -> float:
            return int((((one - other) ** 2) * seen).sum()) / count

        theirs = frame(target)
        here[row] = difference(ours, theirs)
        for side, sign in enumerate((-1, 1)):
            for near in range(1, REACH + 1):
                index = target + sign * near
                if index not in place:
                    break
                length = difference(theirs, frame(index))
                if length > STEP:
                    way[row, side] = (1 - (difference(ours, frame(index)) - here[row]) / length) / 2
                    step[row, side] = length
                    break
    usual = float(np.median(here[kept])) if kept.any() else 0.0
    return Bearings(np.round(way, 6), np.sqrt((usual + FLOOR) / (POINTS * step)))

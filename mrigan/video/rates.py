"""A fake of another frame rate than its original: which frames of the original it still has, and where.

A converter takes, for each moment of the new rate, one frame of the old: the nearest, the last before, or the next. So
the frame that is nearest in time is often another one, by a frame, in a regular pattern, and some frames are gone. Seen
in frames of the fake, the original's frame i lies at i · r (r = fake's rate : original's), and the frames that the fake
has lie within one interval of length r around the fake's frames that show them. Where that interval is depends on the
converter. It is found from the frames that surely lie where they should (`bearings`), which all lie in it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mrigan.video.bearings import bearings
from mrigan.video.lags import BAD, MIN_RUN, ODD, LagTable

SPAN = 10  # frames, over which a rate is taken: containers round times
OTHER = 0.01  # of a rate: less is none other
AGAINST = 3  # frames that lie where they should make up for one in the same interval that lies elsewhere
PLAIN = 0.3  # the same for one of which nothing is sure
MANY = 0.3  # of the frames in the interval must be sure, for the others to be taken, too
ROUNDED = 0.05  # of a frame of the fake: what containers round off


def ratio(rows: np.ndarray, ours: Mapping[int, float], theirs: Mapping[int, float]) -> float:
    """The fake's rate by its original's; 1 where they are the same, whatever frames either has lost."""
    there = np.array(sorted(theirs))
    paces = []
    for indices, times, span in ((rows, ours, 1), (there, theirs, min(SPAN, len(there) - 1))):
        if len(indices) <= span or not span:
            return 1.0
        seconds = np.array([times[i] for i in indices.tolist()])
        paces.append(float(np.median((seconds[span:] - seconds[:-span]) / (indices[span:] - indices[:-span]))))
    found = paces[0] / paces[1] if paces[1] > 0 else 1.0
    return 1.0 if abs(found - 1) < OTHER else found


def converted(table: LagTable, ours: Mapping[int, float], theirs: Mapping[int, float], rate: float) -> np.ndarray:
    """Bring the path of a table that counts by time to the frames that the fake has; returns their rows.

    Args:
        rate: see `ratio`.
    """
    rows, columns = table.clips.rows, table.clips.columns
    places = np.interp(
        [ours[i] for i in rows.tolist()], [theirs[j] for j in columns.tolist()], columns.astype(np.float64)
    )
    nearest = table.path.copy()
    costs = np.stack([np.where(table.present_at(nearest + s), table.costs(s), np.inf) for s in (0, -1, 1)])
    table.path = nearest + np.array([0, -1, 1])[costs.argmin(0)]
    seen = np.isfinite(costs.min(0)) & ~table.gone
    found = bearings(table, seen)
    sure, astray = seen & found.sure, seen & found.astray
    if sure.sum() < MIN_RUN:
        return np.zeros(len(rows), bool)
    phase = places - (table.base + table.path)
    low, high = _interval(phase[sure], phase[astray], phase[seen & ~sure & ~astray], rate)
    inside = (phase > low) & (phase < high)
    if (sure & inside).sum() < MIN_RUN or (astray & inside).sum() > ODD * (sure & inside).sum():
        return np.zeros(len(rows), bool)
    expected = np.rint(places - (low + high) / 2).astype(int) - table.base
    regular = np.abs(places - (table.base + expected) - (low + high) / 2) < (high - low) / 2
    # Rows that lie alike between two frames of the fake are all there, or none is.
    alike = np.rint((places % 1) / ROUNDED).astype(int) % round(1 / ROUNDED)
    there, right = (np.bincount(alike, one)[alike] for one in (seen, seen & sure & inside))
    regular &= (there < MIN_RUN) | (right >= MANY * there)
    table.path = np.where(sure & inside, table.path, np.clip(expected, table.lags.min(), table.lags.max()))
    usual = float(np.median(np.exp(table.costs()[sure & inside])))
    fits = table.present() & (np.exp(table.costs()) <= BAD * usual)
    return np.asarray((sure & inside) | (regular & ~(astray & inside) & fits))


def _interval(sure: np.ndarray, astray: np.ndarray, unsure: np.ndarray, rate: float) -> tuple[float, float]:
    """Between which phases frames lie where they should: as many of those that do, and as few others, as may be."""
    grid = np.unique(np.rint(sure / ROUNDED) * ROUNDED)
    best, found = -np.inf, (0.0, 0.0)
    for low in grid:
        for high in grid[(grid >= low) & (grid < low + rate)]:
            inside = [((each > low - ROUNDED) & (each < high + ROUNDED)).sum() for each in (sure, astray, unsure)]
            score = inside[0] - AGAINST * inside[1] - PLAIN * inside[2]
            if score > best:
                best, found = score, (float(low) - ROUNDED, float(high) + ROUNDED)
    return found

"""Which frame of a fake shows the moment of a frame of its original: one decision a clip, from all of its frames.

The border of the frame cannot tell before a camera at rest: it is the same at every moment. What moves outside the
forged faces can: hair, neck, shoulders, people behind, or the whole picture of a hand-held camera. Every frame of a
clip is known by its grey values at a few thousand places (`points`). Of the places outside the faces, those that
change most in the original are compared, each wanted frame of the original with the fake's frames:

1. The lag (in frames of the fake) may change on the way, where frames were lost or doubled, at a price; the cheapest
   sequence of lags is found by dynamic programming over all lags up to a limit. Without a reason lags are 0.
2. Lags count from the same index, or from the nearest presentation time where that explains the clip better.
3. A frame is left out where its lag does not hold for `MIN_RUN` frames, is not clear, or does not fit. In a stretched,
   a reversed and a mirrored fake that is every frame.
   A fake of another rate has only some of the moments, near their times: which ones, and where, `rates` finds. Where
   too little moves for that, frames at one time are taken if no neighbour fits better, and marked `unproven`.
   In any other fake that is read whole, a frame that surely lies between two of the fake's is left out (`bearings`).
4. A fake whose movements are not those of the original (another take) has no pair.
5. Where nothing moves that could tell, the fake is taken at lag 0 if no other fits better, and marked `unproven`.
   Before that, the faces themselves are looked at: they may tell that the fake begins early or late.

Grey values are integers and their products are summed exactly, so every processor finds the same differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mrigan.video.bearings import bearings
from mrigan.video.lags import MIN_RUN, SWITCH, Clips, LagTable, Moving, Sight, clearly
from mrigan.video.rates import converted, ratio

SAME = 0.8  # correlation of the movements; aligned clips have .96 and more, other takes at most .5
OF_MANY, CHANCE_OF_MANY = 0.05, 5.0  # log units, standard errors: where one of hundreds of lags fits better
FACES_TELL = 0.3  # in log units: by so much must the faces fit better at another lag
FEW_ELSEWHERE = 0.2  # of a clip's frames; where more fit better elsewhere, it shows other moments
# Changes of the lag, and part of the frames with one lag; with more and less, only what is sure is taken
STEADY, MOSTLY = 2, 0.75
NEARLY = 1.1  # times half a frame: what containers round off
APART = 0.45  # of the time between two frames of the original: what is further from a frame is another moment
ALIKE = 0.9
COINCIDE = 0.05  # of the time between two frames: what is closer is at one time


@dataclass(frozen=True)
class Decision:
    """What a fake shows of the wanted frames.

    Args:
        targets: index in the original → index in the fake, of the frames that show one moment.
        absent: indices whose moment the fake does not have, because it ends earlier.
        proven: False = nothing moved that could tell.
        inside: only the faces told: so they are one and the same, and the fake is none, or it cannot be trusted.
        unsure: more frames of the fake are needed to decide (only where some were left out).
        end: why the fake has no frame for the `absent` ones: "ended" or "unreadable: ...".
    """

    targets: dict[int, int] = field(default_factory=dict)
    absent: frozenset[int] = frozenset()
    proven: bool = False
    inside: bool = False
    unsure: bool = False
    end: str = "ended"

    @property
    def moved(self) -> bool:
        """Whether frames of the fake belong to other indices than their own."""
        return any(i != j for i, j in self.targets.items())


def decide(
    original: Sight, outside: Mapping[int, np.ndarray], fake: Sight, *, complete: bool, furthest: int = 2048
) -> Decision:
    """Find the fake's frames for those of the original.

    Args:
        original: the wanted frames. outside: for each of them, which places lie outside the faces (bool).
        fake: frames of the fake, at least those with the indices of the original's, where it has them.
        complete: all frames of the fake are there. Else its decision may be `unsure`.
        furthest: the largest lag, in frames.
    """
    rows = np.array(sorted(original.points))
    if not rows.size or not fake.points:
        return Decision(absent=frozenset(rows.tolist()))
    bases = _bases(rows, original.times, fake.times, complete)
    if len(bases) > 1 and not complete:
        return Decision(unsure=True)
    clips = Clips(rows, original, outside, fake, complete=complete, furthest=furthest)
    moving = clips.moving()
    tables = [clips.table(base, clips.outside, moving.chosen) for base in bases]
    table = min(tables, key=lambda each: each.price + (SWITCH if each is not tables[0] else 0.0))
    rate = ratio(rows, original.times, fake.times) if len(tables) > 1 else 1.0
    if table.base is rows and table.unsteady:
        table = next((each for each in tables if each.base is not rows), table)
    if rate != 1.0 and table.base is not rows:
        kept = converted(table, original.times, fake.times, rate)
        if moving.enough and table.correlation(kept) >= SAME:
            return _decision(table, kept, proven=True)
        table.path[:] = 0  # the nearest in time, as most converters round, if no neighbour fits better
        by_time = _unproven(clips, table, table, moving)
        return by_time if rate > 1.0 else _at_one_time(by_time, original.times, fake.times)
    kept = table.kept()
    if table.base is not rows:  # frames by time: of another rate, or with gaps, so not every moment is there
        kept &= ~_between(rows, table.base, original.times, fake.times) & ~table.elsewhere()
    if complete:
        found = bearings(table, kept)
        if found.out_of_step(kept):
            return Decision()
        kept &= ~found.astray if _steady(table) else found.sure
    if moving.enough and table.correlation(kept) < SAME:
        return Decision() if complete else Decision(unsure=True)  # another take, or not found among half of the frames
    if moving.enough and table.stands_out(kept):
        if complete or (table.plain and table.mostly(kept) and not table.hidden().any()):
            return _decision(table, kept, proven=True)
        return Decision(unsure=True)
    if not complete:
        return Decision(unsure=True)
    if rate != 1.0:
        return Decision()
    return _unproven(clips, tables[0], table, moving)


def _at_one_time(found: Decision, ours: Mapping[int, float], theirs: Mapping[int, float]) -> Decision:
    """Of a fake with fewer frames only those at the very time of one of the original's: it may lack other moments."""
    apart = COINCIDE * (max(theirs.values()) - min(theirs.values())) / max(len(theirs) - 1, 1)
    return replace(found, targets={i: j for i, j in found.targets.items() if abs(ours[i] - theirs[j]) <= apart})


def _steady(table: LagTable) -> bool:
    """Whether frames were lost or doubled seldom, or never."""
    _, counts = np.unique(table.path[~table.gone], return_counts=True)
    return table.changes <= STEADY or bool(counts.max(initial=0) >= MOSTLY * counts.sum())


def _unproven(clips: Clips, plain: LagTable, best: LagTable, moving: Moving) -> Decision:
    """What moves outside the faces does not tell: lag 0 unless another one fits better, there or in the faces."""
    rows = plain.present(0)
    if not rows.any():
        return Decision(absent=frozenset(clips.rows.tolist()))
    others = [(best.costs(), best.present())] + [(plain.at(lag), plain.present(lag)) for lag in plain.lags.tolist()]
    if any(_better(costs - plain.at(0), rows & seen) for costs, seen in others):
        return Decision()
    faces = ~clips.outside
    within = np.flatnonzero(2 * faces.sum(0) >= len(faces))
    if within.size:
        inside = clips.table(plain.base, faces, within)
        means = {
            lag: float((inside.at(lag) - inside.at(0))[both].mean())
            for lag in inside.lags.tolist()
            if (both := rows & inside.present(lag)).sum() >= MIN_RUN
        }
        lag = min(means, key=lambda one: (means[one], abs(one)), default=0)
        if lag and means[lag] < -FACES_TELL and _better(inside.at(lag) - inside.at(0), rows & inside.present(lag)):
            inside.path[:] = lag
            return _decision(inside, inside.present(), inside=True)
    plain.path[:] = 0
    if plain.beaten(rows, slightly=moving.enough):
        return Decision()
    if moving.enough:  # then single frames tell, too
        found = bearings(plain, rows)
        if found.out_of_step(rows):
            return Decision()
        elsewhere = plain.elsewhere() | found.astray
        if elsewhere[rows].mean() > FEW_ELSEWHERE:
            return Decision()
        rows &= ~elsewhere
    return _decision(plain, rows)


def _better(gains: np.ndarray, rows: np.ndarray) -> bool:
    """Whether costs are lower by more than the best of many lags has them by chance."""
    enough = rows.sum() >= max(MIN_RUN, len(rows) / 2)
    return bool(enough) and clearly(-gains[rows], OF_MANY, CHANCE_OF_MANY)


def _bases(
    rows: np.ndarray, ours: Mapping[int, float], theirs: Mapping[int, float], complete: bool
) -> list[np.ndarray]:
    """From where lags count: the fake's frame nearest in time, the same index; one of them where they agree.

    The likelier one comes first: the index, where the clips have as many frames and last differently (one and the same
    frames, played at another rate); else the time.
    """
    indices = np.array(sorted(theirs))
    times = np.array([theirs[j] for j in indices.tolist()])
    seconds = np.array([ours[i] for i in rows.tolist()])
    step = (times[-1] - times[0]) / max(int(indices[-1] - indices[0]), 1)
    there = np.isin(rows, indices)
    if not (there.any() and step > 0):
        return [rows]
    same = times[np.searchsorted(indices, rows[there])]
    if (np.abs(same - seconds[there]) <= 0.5 * step * NEARLY).all():
        return [rows]
    if not complete:
        return [rows, rows]
    right = np.clip(np.searchsorted(times, seconds), 1, len(times) - 1) if len(times) > 1 else np.zeros_like(rows)
    left = np.maximum(right - 1, 0)
    nearest = np.where(seconds - times[left] <= times[right] - seconds, left, right)
    beyond = seconds > times[-1] + 0.5 * step * NEARLY
    base = np.where(beyond, indices[-1] + np.ceil((seconds - times[-1]) / step).astype(int), indices[nearest])
    rate = (seconds[-1] - seconds[0]) / max(int(rows[-1] - rows[0]), 1)
    steady = np.abs(seconds - seconds[0] - rate * (rows - rows[0])).max() <= 0.5 * step
    return [rows, base] if steady and abs(rate / step - 1) < ALIKE else [base, rows]


def _between(rows: np.ndarray, base: np.ndarray, ours: Mapping[int, float], theirs: Mapping[int, float]) -> np.ndarray:
    """The rows whose moment lies between two frames of the fake, so that it shows the one before or after instead."""
    seconds = np.array([ours[i] for i in rows.tolist()])
    apart = np.abs([theirs.get(j, t) - t for j, t in zip(base.tolist(), seconds.tolist(), strict=True)])
    step = (seconds[-1] - seconds[0]) / max(int(rows[-1] - rows[0]), 1)
    return apart > APART * step


def _decision(table: LagTable, kept: np.ndarray, *, proven: bool = False, inside: bool = False) -> Decision:
    rows, targets = table.clips.rows, table.base + table.path
    ended = targets > table.clips.columns[-1]
    pairs = {int(i): int(j) for i, j, keep in zip(rows, targets, kept, strict=True) if keep}
    return Decision(pairs, frozenset(rows[ended].tolist()), proven, inside)

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
4. A fake whose movements are not those of the original (another take) has no pair.
5. Where nothing moves that could tell, the fake is taken at lag 0 if no other fits better, and marked `unproven`.
   Before that, the faces themselves are looked at: they may tell that the fake begins early or late.

Grey values are integers and their products are summed exactly, so every processor finds the same differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

ROOM = 1 << 26  # bytes of points, of one clip
MIN_RUN = 3  # wanted frames in succession with one lag
PLACES = 0.1  # of the places, those that change most are compared
FLOOR = 2.0  # grey levels squared: what codecs do to a picture at rest
BEGIN = 0.4  # price of a clip that begins at another lag than 0, in log units of difference
SWITCH = 0.5  # price of another lag on the way
MOVES = 64.0  # grey levels squared: the temporal variance of the places compared, where something moves
STANDS_OUT = 6.0  # times that of the median place: else it is noise,
EVERYWHERE = 40.0  # unless the median place changes so much
SAME = 0.8  # correlation of the movements; aligned clips have .96 and more, other takes at most .5
NEIGHBOURS = (1, -1, 2, -2, 3, -3)
SLIGHT = 0.01  # in log units of difference: less is no difference
SCATTER = 0.02  # the least standard deviation that costs are taken to have
CHANCE, NO_CHANCE = 2.0, 3.0  # standard errors: of a few lags; the same where nothing moves
OF_MANY, CHANCE_OF_MANY = 0.05, 5.0  # the same, where one of hundreds of lags is said to fit better
FACES_TELL = 0.3  # in log units: by so much must the faces fit better at another lag
POOR, BAD = 3.0, 8.0  # times the usual difference of a clip: beyond the first a frame must stand out by itself,
ALONE = 4.0  # in log units against a random frame, beyond the second it does not fit
CLEAR = 0.7  # in log units: by so much must a neighbour fit better to speak against one frame
HIDDEN, SMALL = 0.4, 0.05  # in log units: by so much do successive frames fit better beside the path, in all and each
ELSEWHERE = 0.15  # by so much one frame, where nothing is proven but something moves
FEW_ELSEWHERE = 0.2  # of a clip's frames; where more fit better elsewhere, it shows other moments
UNSTEADY = 0.1  # changes of the lag a wanted frame, above: only long runs are trusted
LONG_RUN = 8  # wanted frames
FEW = 0.2  # of a clip's frames must be kept, else its movements are not those of the original
ODD = 0.1  # of a clip's frames may be left out before its other frames are looked at
NEARLY = 1.1  # times half a frame: what containers round off
APART = 0.45  # of the time between two frames of the original: what is further from a frame is another moment
ALIKE = 0.9
CHUNK = 64  # rows that are compared at a time
CELLS = 1 << 23  # rows times lags, at most


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


@dataclass
class Sight:
    """What is known of one clip: for each index its time in seconds and its points.

    Of a long clip fewer points are kept: `thinned` halvings, so that they take at most `ROOM`.
    """

    times: dict[int, float] = field(default_factory=dict)
    points: dict[int, np.ndarray] = field(default_factory=dict)
    thinned: int = 0

    def add(self, index: int, time: float, points: np.ndarray) -> None:
        self.times[index] = time
        self.points[index] = points[:: 1 << self.thinned]
        if len(self.points) * self.points[index].size > ROOM:
            self.thinned += 1
            self.points = {i: values[::2].copy() for i, values in self.points.items()}

    def halved(self, times: int) -> np.ndarray:
        """(n, points) uint8 in the order of the indices, thinned so many times in all."""
        return np.stack([self.points[i][:: 1 << (times - self.thinned)] for i in sorted(self.points)])


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
    clips = _Clips(rows, original, outside, fake, complete=complete, furthest=furthest)
    moving = clips.moving()
    tables = [clips.table(base, clips.outside, moving.chosen) for base in bases]
    table = min(tables, key=lambda each: each.price + (SWITCH if each is not tables[0] else 0.0))
    kept = table.kept()
    if table.base is not rows:  # frames by time: of another rate, or with gaps, so not every moment is there
        kept &= ~_between(rows, table.base, original.times, fake.times) & ~table.elsewhere()
    if moving.enough and table.correlation(kept) < SAME:
        return Decision() if complete else Decision(unsure=True)  # another take, or not found among half of the frames
    if moving.enough and table.stands_out(kept):
        if complete or (table.plain and table.mostly(kept) and not table.hidden().any()):
            return table.decision(kept, proven=True)
        return Decision(unsure=True)
    if not complete:
        return Decision(unsure=True)
    return _unproven(clips, tables[0], table, moving)


def _unproven(clips: _Clips, plain: _Table, best: _Table, moving: _Moving) -> Decision:
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
            return inside.decision(inside.present(), inside=True)
    plain.path[:] = 0
    if plain.beaten(rows, slightly=moving.enough):
        return Decision()
    if moving.enough:  # then single frames tell, too
        elsewhere = plain.elsewhere()
        if elsewhere[rows].mean() > FEW_ELSEWHERE:
            return Decision()
        rows &= ~elsewhere
    return plain.decision(rows)


def _better(gains: np.ndarray, rows: np.ndarray) -> bool:
    """Whether costs are lower by more than the best of many lags has them by chance."""
    enough = rows.sum() >= max(MIN_RUN, len(rows) / 2)
    return bool(enough) and _clearly(-gains[rows], OF_MANY, CHANCE_OF_MANY)


def _clearly(values: np.ndarray, least: float = SLIGHT, chance: float = CHANCE) -> bool:
    """Whether the mean of some values is above zero by more than chance would have it."""
    if not values.size:
        return False
    error = max(float(values.std()), SCATTER, least) / np.sqrt(values.size)
    return float(values.mean()) > max(least, chance * error)


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


@dataclass(frozen=True)
class _Moving:
    """The places that change most outside the faces, and whether that is movement."""

    chosen: np.ndarray
    enough: bool


class _Clips:
    """The points of both clips as arrays: rows are frames of the original, columns frames of the fake."""

    def __init__(
        self,
        rows: np.ndarray,
        original: Sight,
        outside: Mapping[int, np.ndarray],
        fake: Sight,
        *,
        complete: bool,
        furthest: int,
    ) -> None:
        self.rows, self.complete, self.furthest = rows, complete, furthest
        self.columns = np.array(sorted(fake.points))
        thinned = max(original.thinned, fake.thinned)
        self.ours, self.theirs = original.halved(thinned), fake.halved(thinned)
        self.outside = np.stack([outside[i][:: 1 << thinned] for i in rows.tolist()])

    def moving(self) -> _Moving:
        """Find the places to compare."""
        counts = self.outside.sum(0)
        often = np.flatnonzero(2 * counts >= len(self.rows))
        if not often.size:
            return _Moving(often, enough=False)
        seen, values = self.outside[:, often], self.ours[:, often].astype(np.int64)
        total, squares = (seen * values).sum(0), (seen * values * values).sum(0)
        change = (squares * counts[often] - total * total) / counts[often] ** 2
        order = np.argsort(-change, kind="stable")[: max(int(PLACES * often.size), 1)]
        strong, usual = float(change[order].mean()), float(np.median(change))
        enough = len(self.rows) > 1 and strong >= MOVES and (strong >= STANDS_OUT * usual or usual >= EVERYWHERE)
        return _Moving(np.sort(often[order]), enough)

    def table(self, base: np.ndarray, seen: np.ndarray, chosen: np.ndarray) -> _Table:
        return _Table(self, base, seen[:, chosen], chosen)


class _Table:
    """How well each frame of the fake fits each of the original, by lag, and the cheapest sequence of lags.

    Attributes:
        base: index in the fake at lag 0. lags: nearest first. path: the lag of each row.
        price: of the path.
    """

    def __init__(self, clips: _Clips, base: np.ndarray, seen: np.ndarray, chosen: np.ndarray) -> None:
        self.clips, self.base, self.seen, self.chosen = clips, base, seen, chosen
        first, last = int(clips.columns[0]), int(clips.columns[-1])
        reach = min(clips.furthest, CELLS // (2 * len(base)))
        low, high = max(-reach, first - int(base.max())), min(reach, last - int(base.min()))
        self.lags = np.array(sorted({0, *range(low, high + 1)}, key=lambda lag: (abs(lag), lag)))
        self._place = {lag: n for n, lag in enumerate(self.lags.tolist())}
        self._costs, self.known, self.there, self.out = self._compare(first, last)
        self.path, self.price = self._cheapest()
        # A frame that the fake does not have costs as much as one that fits badly: so no other stands in for it.
        poor = float(np.median(self.costs())) + np.log(POOR)
        self._costs = np.where(self.there, self._costs, np.minimum(self.out, poor)[:, None])
        self.path, self.price = self._cheapest()
        self._end()

    def _compare(self, first: int, last: int) -> tuple[np.ndarray, ...]:
        """By row and lag: log differences; whether that frame was seen; whether it exists; and each row's usual."""
        clips, shape = self.clips, (len(self.base), len(self.lags))
        costs, known, there = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
        usual = np.zeros(len(self.base))
        every = np.arange(first, last + 1)
        right = np.searchsorted(clips.columns, every)  # the next frame that was seen; the one before it
        left = np.where(clips.columns[right] == every, right, right - 1)
        for start in range(0, len(self.base), CHUNK):
            part = slice(start, start + CHUNK)
            low, high = int(self.base[part].min() + self.lags.min()), int(self.base[part].max() + self.lags.max())
            used = slice(*np.searchsorted(clips.columns, [low - CHUNK, high + CHUNK]))
            if used.start == used.stop:
                used = slice(max(used.start - 1, 0), max(used.start, 1))
            fake = clips.theirs[used][:, self.chosen].astype(np.float64)
            mask = self.seen[part].astype(np.float64)
            original = clips.ours[part][:, self.chosen] * mask
            square = (original * original).sum(1)[:, None] - 2 * original @ fake.T + mask @ (fake * fake).T
            value = np.round(np.log(square / np.maximum(mask.sum(1), 1)[:, None] + FLOOR), 6)
            usual[part] = np.median(value, axis=1)
            wanted = self.base[part][:, None] + self.lags
            there[part] = (wanted >= first) & (wanted <= last)
            at = np.clip(wanted - first, 0, len(every) - 1)
            near = [np.clip(side[at] - used.start, 0, value.shape[1] - 1) for side in (left, right)]
            one, other = (np.take_along_axis(value, side, axis=1) for side in near)
            known[part] = there[part] & (left[at] == right[at])
            costs[part] = np.where(there[part], np.minimum(one, other), usual[part][:, None])
        return costs, known, there, usual

    def _cheapest(self) -> tuple[np.ndarray, float]:
        total = self._costs[0] + np.where(self.lags == 0, 0.0, BEGIN)
        came = np.zeros(self._costs.shape, np.int32)
        stay = np.arange(len(self.lags))
        for row in range(1, len(self._costs)):
            best = int(total.argmin())
            switched = total[best] + SWITCH < total
            came[row] = np.where(switched, best, stay)
            total = np.where(switched, total[best] + SWITCH, total) + self._costs[row]
        at = int(total.argmin())
        price = float(total[at])
        path = np.zeros(len(self._costs), int)
        for row in range(len(path) - 1, -1, -1):
            path[row] = self.lags[at]
            at = int(came[row, at])
        return path, price

    def _runs(self) -> list[np.ndarray]:
        """The rows that follow each other with one lag."""
        rows = np.flatnonzero(~self.gone)
        return np.split(rows, np.flatnonzero(np.diff(self.path[rows])) + 1) if rows.size else []

    def _end(self) -> None:
        """Take a fake that ends early as such: what a picture at rest shows before its end still fits after it."""
        self.gone = ~self._there()
        self.changes = len(self._runs()) - 1
        for last, step in ((-1, -1), (0, 1)):
            while len(runs := self._runs()) > 1:
                lag, rows = int(self.path[runs[last + step][0]]), runs[last]
                both = self.there[rows, self._place[lag]]
                gain = (self.at(lag) - self.costs())[rows[both]]
                if both.all() or gain.sum() >= CLEAR or (gain.size >= MIN_RUN and _clearly(gain)):
                    break
                self.gone[rows[~both]] = True
                self.path[rows[both]] = lag
        rows = np.flatnonzero(~self.gone)
        if rows.size:  # a frame that is nowhere is taken to be where its neighbours are
            near = rows[np.clip(np.searchsorted(rows, np.arange(len(self.path)), side="right") - 1, 0, None)]
            self.path = self.path[near]

    @property
    def plain(self) -> bool:
        """Whether every frame has its own index."""
        return not self.path.any() and bool((self.base == self.clips.rows).all())

    def mostly(self, kept: np.ndarray) -> bool:
        """Whether all but a few of the frames that the fake has are kept."""
        there = self._there()
        return bool((there & ~kept).sum() <= ODD * there.sum())

    def at(self, lag: int) -> np.ndarray:
        """The costs of one lag, of each row."""
        return self._costs[:, self._place[lag]]

    def costs(self, shift: int = 0) -> np.ndarray:
        """The costs along the path, or beside it."""
        return self._costs[np.arange(len(self.path)), self._columns(shift)]

    def present(self, lag: int | None = None) -> np.ndarray:
        """The rows whose frame at one lag, or on the path, was seen."""
        if lag is not None:
            return self.known[:, self._place[lag]]
        return self.known[np.arange(len(self.path)), self._columns(0)]

    def _there(self) -> np.ndarray:
        """The rows whose frame on the path exists."""
        return self.there[np.arange(len(self.path)), self._columns(0)]

    def _columns(self, shift: int) -> list[int]:
        return [self._place.get(lag, -1) for lag in (self.path + shift).tolist()]

    def beside(self, shift: int) -> tuple[np.ndarray, np.ndarray]:
        """What the frames beside the path cost more, and in which rows they were seen."""
        columns = self._columns(shift)
        rows = np.arange(len(self.path))
        known = self.known[rows, columns] & (np.array(columns) >= 0)
        return self._costs[rows, columns] - self.costs(), known

    def kept(self) -> np.ndarray:
        """The rows whose lag holds, is clear, and fits."""
        costs = self.costs()
        kept = self._in_runs()
        if not kept.any():
            return kept
        differs = np.exp(costs)
        usual = float(np.median(differs[kept]))
        kept &= (differs <= POOR * usual) | ((differs <= BAD * usual) & (costs <= self.out - ALONE))
        for shift in NEIGHBOURS:
            gain, known = self.beside(shift)
            kept &= ~(known & (gain < -CLEAR) & (differs > 2 * usual))
        return kept & ~self.hidden()

    def _in_runs(self) -> np.ndarray:
        """The rows in long enough runs of one lag, without those near their ends that another run may claim."""
        kept = ~self.gone
        runs = self._runs()
        unsteady = self.changes > max(2, UNSTEADY * len(self.path))
        least = min(LONG_RUN if unsteady else MIN_RUN, int(kept.sum()))
        for number, rows in enumerate(runs):
            if len(rows) < least:
                kept[rows] = False
                continue
            for neighbour, step in ((number - 1, 1), (number + 1, -1)):
                if 0 <= neighbour < len(runs):
                    lag = int(self.path[runs[neighbour][0]])
                    gain = (self.at(lag) - self.costs())[rows][::step].cumsum()
                    sure = np.minimum.accumulate(gain[::-1])[::-1] >= CLEAR
                    kept[rows] &= sure[::step]
        return kept

    def correlation(self, kept: np.ndarray) -> float:
        """Of the movements of both clips, over the rows that are kept; 0 where these are few."""
        rows = np.flatnonzero(kept & self.present())
        if len(rows) < max(min(MIN_RUN, int(self.present().sum())), FEW * len(self.path)):
            return 0.0
        columns = np.searchsorted(self.clips.columns, (self.base + self.path)[rows])
        mask = self.seen[rows]
        parts = []
        for values in (self.clips.ours[rows][:, self.chosen], self.clips.theirs[columns][:, self.chosen]):
            middle = np.rint((values * mask).sum(0) / np.maximum(mask.sum(0), 1)).astype(np.int64)
            parts.append((values - middle) * mask)
        ours, theirs = parts
        scale = np.sqrt(float((ours * ours).sum()) * float((theirs * theirs).sum()))
        return round(float((ours * theirs).sum()) / scale, 6) if scale else 0.0

    def stands_out(self, kept: np.ndarray) -> bool:
        """Whether the frames just before and after fit less well than those of the path."""
        for shift in NEIGHBOURS:
            gain, known = self.beside(shift)
            seen = kept & known
            if not seen.any() and not self.clips.complete and abs(shift) > 1:
                continue
            if not _clearly(gain[seen]):
                return False
        return True

    def beaten(self, rows: np.ndarray, *, slightly: bool) -> bool:
        """Whether the frames just before or after fit better than those of the path, be it slightly or clearly."""
        for shift in NEIGHBOURS:
            gain, known = self.beside(shift)
            gain = gain[rows & known]
            if gain.size >= MIN_RUN and (gain.mean() < -SLIGHT if slightly else _clearly(-gain, SLIGHT, NO_CHANCE)):
                return True
        return False

    def elsewhere(self) -> np.ndarray:
        """The rows of which one of the frames just before and after fits better."""
        found = np.zeros(len(self.path), bool)
        for shift in NEIGHBOURS:
            gain, known = self.beside(shift)
            found |= known & (gain < -ELSEWHERE)
        return found

    def hidden(self) -> np.ndarray:
        """The rows in runs that fit better beside the path, but by too little for the price of another lag."""
        found = np.zeros(len(self.path), bool)
        for shift in NEIGHBOURS:
            gain, known = self.beside(shift)
            rows = np.flatnonzero(known & ~self.gone)
            if rows.size:
                sums = np.concatenate([[0.0], np.cumsum(-gain[rows] - SMALL)])
                best = np.maximum.accumulate(sums[:0:-1])[::-1] - np.minimum.accumulate(sums[:-1])
                found[rows] |= (best > HIDDEN) & (gain[rows] < 0)
        return found

    def decision(self, kept: np.ndarray, *, proven: bool = False, inside: bool = False) -> Decision:
        rows, targets = self.clips.rows, self.base + self.path
        ended = targets > self.clips.columns[-1]
        pairs = {int(i): int(j) for i, j, keep in zip(rows, targets, kept, strict=True) if keep}
        return Decision(pairs, frozenset(rows[ended].tolist()), proven, inside)

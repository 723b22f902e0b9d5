"""The frames of an original against those of a fake, by lag: how well each fits, and the cheapest sequence of lags."""

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
NEIGHBOURS = (1, -1, 2, -2, 3, -3)
SLIGHT = 0.01  # in log units of difference: less is no difference
SCATTER = 0.02  # the least standard deviation that costs are taken to have
CHANCE, NO_CHANCE = 2.0, 3.0  # standard errors: of a few lags; the same where nothing moves
POOR, BAD = 3.0, 8.0  # times the usual difference of a clip: beyond the first a frame must stand out by itself,
ALONE = 4.0  # in log units against a random frame, beyond the second it does not fit
CLEAR = 0.7  # in log units: by so much must a neighbour fit better to speak against one frame
HIDDEN, SMALL = 0.4, 0.05  # in log units: by so much do successive frames fit better beside the path, in all and each
ELSEWHERE = 0.15  # by so much one frame, where nothing is proven but something moves
UNSTEADY = 0.1  # changes of the lag a wanted frame, above: only long runs are trusted
LONG_RUN = 8  # wanted frames
FEW = 0.2  # of a clip's frames must be kept, else its movements are not those of the original
ODD = 0.1  # of a clip's frames may be left out before its other frames are looked at
CHUNK = 64  # rows that are compared at a time
CELLS = 1 << 23  # rows times lags, at most


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


@dataclass(frozen=True)
class Moving:
    """The places that change most outside the faces, and whether that is movement."""

    chosen: np.ndarray
    enough: bool


class Clips:
    """The points of both clips as arrays: rows are frames of the original, columns frames of the fake."""

    def __init__(self, rows: np.ndarray, original: Sight, outside: Mapping[int, np.ndarray], fake: Sight, *,
                 complete: bool, furthest: int) -> None:  # fmt: skip
        self.rows, self.complete, self.furthest = rows, complete, furthest
        self.columns = np.array(sorted(fake.points))
        thinned = max(original.thinned, fake.thinned)
        self.ours, self.theirs = original.halved(thinned), fake.halved(thinned)
        self.outside = np.stack([outside[i][:: 1 << thinned] for i in rows.tolist()])

    def moving(self) -> Moving:
        """Find the places to compare."""
        counts = self.outside.sum(0)
        often = np.flatnonzero(2 * counts >= len(self.rows))
        if not often.size:
            return Moving(often, enough=False)
        values = (self.outside[:, often] * self.ours[:, often]).astype(np.float64)  # whole numbers, so sums are exact
        total, squares = values.sum(0), np.einsum("ij,ij->j", values, values)
        change = (squares * counts[often] - total * total) / counts[often] ** 2
        order = np.argsort(-change, kind="stable")[: max(int(PLACES * often.size), 1)]
        strong, usual = float(change[order].mean()), float(np.median(change))
        enough = len(self.rows) > 1 and strong >= MOVES and (strong >= STANDS_OUT * usual or usual >= EVERYWHERE)
        return Moving(np.sort(often[order]), enough)

    def table(self, base: np.ndarray, seen: np.ndarray, chosen: np.ndarray) -> LagTable:
        return LagTable(self, base, seen[:, chosen], chosen)


class LagTable:
    """How well each frame of the fake fits each of the original, by lag, and the cheapest sequence of lags.

    Attributes:
        base: index in the fake at lag 0. lags: nearest first. path: the lag of each row.
        price: of the path.
    """

    def __init__(self, clips: Clips, base: np.ndarray, seen: np.ndarray, chosen: np.ndarray) -> None:
        self.clips, self.base, self.seen, self.chosen = clips, base, seen, chosen
        first, last = int(clips.columns[0]), int(clips.columns[-1])
        reach = min(clips.furthest, CELLS // (2 * len(base)))
        low, high = max(-reach, first - int(base.max())), min(reach, last - int(base.min()))
        lags = np.union1d([0], np.arange(low, high + 1))
        self.lags = lags[np.lexsort((lags, np.abs(lags)))]
        self._lowest = int(lags[0])
        self._place = np.full(int(lags[-1]) - self._lowest + 1, -1)  # the column of each lag from the lowest on
        self._place[self.lags - self._lowest] = np.arange(len(lags))
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
                both = self.there[rows, self._place[lag - self._lowest]]
                gain = (self.at(lag) - self.costs())[rows[both]]
                if both.all() or gain.sum() >= CLEAR or (gain.size >= MIN_RUN and clearly(gain)):
                    break
                self.gone[rows[~both]] = True
                self.path[rows[both]] = lag
        rows = np.flatnonzero(~self.gone)
        if rows.size:  # a frame that is nowhere is taken to be where its neighbours are
            near = rows[np.clip(np.searchsorted(rows, np.arange(len(self.path)), side="right") - 1, 0, None)]
            self.path = self.path[near]

    @property
    def unsteady(self) -> bool:
        """Whether the lag changes so often that only long runs are trusted."""
        return self.changes > max(2, UNSTEADY * len(self.path))

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
        return self._costs[:, self._place[lag - self._lowest]]

    def costs(self, shift: int = 0) -> np.ndarray:
        """The costs along the path, or beside it."""
        return self._costs[np.arange(len(self.path)), self._columns(shift)]

    def present_at(self, lags: np.ndarray) -> np.ndarray:
        """The rows whose frame at a lag of their own was seen."""
        columns = self._columns_of(lags)
        return self.known[np.arange(len(lags)), columns] & (columns >= 0)

    def present(self, lag: int | None = None) -> np.ndarray:
        """The rows whose frame at one lag, or on the path, was seen."""
        if lag is not None:
            return self.known[:, self._place[lag - self._lowest]]
        return self.known[np.arange(len(self.path)), self._columns(0)]

    def _there(self) -> np.ndarray:
        """The rows whose frame on the path exists."""
        return self.there[np.arange(len(self.path)), self._columns(0)]

    def _columns(self, shift: int) -> np.ndarray:
        return self._columns_of(self.path + shift)

    def _columns_of(self, lags: np.ndarray) -> np.ndarray:
        """The column of each lag, -1 where there is none."""
        at = lags - self._lowest
        return np.where((at >= 0) & (at < len(self._place)), self._place.take(at, mode="clip"), -1)

    def beside(self, shift: int) -> tuple[np.ndarray, np.ndarray]:
        """What the frames beside the path cost more, and in which rows they were seen."""
        columns = self._columns(shift)
        rows = np.arange(len(self.path))
        known = self.known[rows, columns] & (columns >= 0)
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
        least = min(LONG_RUN if self.unsteady else MIN_RUN, int(kept.sum()))
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
            gain = gain[kept & known]
            if not gain.size and not self.clips.complete and abs(shift) > 1:
                continue
            if not clearly(gain) and not (gain.size > MIN_RUN and gain.mean() > SLIGHT and self._beyond(shift, kept)):
                return False
        return True

    def _beyond(self, shift: int, kept: np.ndarray) -> bool:
        """Whether frames twice as far prove what too few neighbours do not.

        Would a neighbour show the moment, the frame beyond it were as near to the moment as that of the path, and fit
        as well. It must fit less well throughout the clip: frames may be lost on the way.
        """
        gain, known = self.beside(2 * shift)
        thirds = zip(*(np.array_split(values, 3) for values in (gain, kept & known)), strict=True)
        few = abs(shift) == 1 and not self.clips.complete
        return few and all(seen.sum() > MIN_RUN and clearly(part[seen]) for part, seen in thirds)

    def beaten(self, rows: np.ndarray, *, slightly: bool) -> bool:
        """Whether the frames just before or after fit better than those of the path, be it slightly or clearly."""
        for shift in NEIGHBOURS:
            gain, known = self.beside(shift)
            gain = gain[rows & known]
            if gain.size >= MIN_RUN and (gain.mean() < -SLIGHT if slightly else clearly(-gain, SLIGHT, NO_CHANCE)):
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


def clearly(values: np.ndarray, least: float = SLIGHT, chance: float = CHANCE) -> bool:
    """Whether the mean of some values is above zero by more than chance would have it."""
    if not values.size:
        return False
    error = max(float(values.std()), SCATTER, least) / np.sqrt(values.size)
    return float(values.mean()) > max(least, chance * error)

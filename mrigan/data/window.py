"""The order of an epoch where random reads are too dear: a bounded number of shards is open at any moment.

A global batch of B slots is cut into lanes, `shards // 2` runs of neighbouring slots. Each lane reads one shard of
reals and one of fakes at a time, from front to back, and then goes on to its next ones; a shard serves one lane, but
for those at the border of two lanes' parts. So no more than `shards` are open at any place of the stream, and a rank,
which takes a run of slots, reads the shards of its own lanes only, where the number of lanes is a multiple of the world
size.

What is random: which samples of the larger class are drawn (as in the full shuffle, the very same), the order of
shards, the mixture of the classes within a lane, and the order of samples within runs of `SPAN` of a shard. What is
lost: samples of one shard, thus of few clips, share their batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mrigan.data.hashing import Ids, hash_ids
from mrigan.errors import ConfigError

SPAN = 256  # samples: reads run at most so far ahead of the front that moves through a shard


@dataclass(frozen=True)
class ShardWindow:
    """What the order depends on besides the draw.

    Attributes:
        shards: open at any moment, over all ranks; at least 2.
        global_batch: samples a step.
        number, offset: (N,) int64: the shard that holds each sample, and where in it (see `ShardSet.places`).

    Raises:
        ConfigError: fewer than two shards.
    """

    shards: int
    global_batch: int
    number: Ids
    offset: Ids

    def __post_init__(self) -> None:
        if self.shards < 2:
            raise ConfigError(
                f"data.window={self.shards}: one shard of each class must be open", fix="give 2 or more, 64 is usual"
            )

    @property
    def lanes(self) -> int:
        """Runs of slots with shards of their own."""
        return min(self.shards // 2, self.global_batch)

    def lane(self, position: Ids) -> Ids:
        """The lane that positions of the stream lie in."""
        return position % self.global_batch * self.lanes // self.global_batch

    def order(self, classes: tuple[Ids, Ids], first: int, word: Callable[[str], np.uint64]) -> Ids:
        """The ids of both `classes` in the order of an epoch that begins at position `first` of the stream.

        Args:
            classes: the drawn reals and fakes.
            word: a random word of this epoch for a purpose.
        """
        length = sum(map(len, classes))
        place = np.arange(length, dtype=np.int64)
        lane = self.lane(first + place)
        # Each lane takes as many reals as its share of the epoch, to a whole number: r of its c places, at random.
        ends = np.cumsum(np.bincount(lane, minlength=self.lanes))
        reals = np.diff(ends * len(classes[0]) // length, prepend=0)
        shuffled = np.lexsort((hash_ids(place, word("window mix")), lane))
        rank = np.empty(length, np.int64)
        rank[shuffled] = place - (ends - np.diff(ends, prepend=0))[lane[shuffled]]
        real = rank < reals[lane]
        result = np.empty(length, np.int64)
        for label, ids in enumerate(classes):
            places = np.flatnonzero(real if label == 0 else ~real)
            by_lane = places[np.argsort(lane[places], kind="stable")]
            result[by_lane] = self._sequence(ids, word(f"window shards {label}"), word(f"window span {label}"))
        return result

    def _sequence(self, ids: Ids, shard_word: np.uint64, span_word: np.uint64) -> Ids:
        """`ids` shard after shard, the shards at random; within one by offset, shuffled in runs of `SPAN`."""
        number = self.number[ids]
        turn = hash_ids(number, shard_word)
        in_order = np.lexsort((self.offset[ids], turn))
        number = number[in_order]
        starts = np.flatnonzero(np.diff(number, prepend=-1))
        lengths = np.diff(np.append(starts, len(ids)))
        span = (np.arange(len(ids)) - np.repeat(starts, lengths)) // SPAN
        within = np.lexsort((hash_ids(ids[in_order], span_word), span, np.repeat(np.arange(len(starts)), lengths)))
        chosen: npt.NDArray[np.int64] = ids[in_order][within]
        return chosen

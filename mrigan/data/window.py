"""The order of an epoch if random reads are too slow: a bounded number of shards is open at any time.

A global batch of B slots is divided into `shards // 2` lanes of neighbouring slots. Each lane reads one shard of reals
and one of fakes at a time, from front to back, and then continues with its next ones. A shard belongs to one lane,
except at the border of two lanes' parts. So at most `shards` are open at any step. If the number of lanes is a multiple
of the world size, a rank reads the shards of its own lanes only.

Random are: which samples of the larger class are drawn (the same ones as without a window), the order of shards, the
mixture of the classes within a lane, and the order of samples within each `SPAN` of a shard. Not random: samples of one
shard, and so of few clips, are in the same batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mrigan.data.hashing import Ids, hash_ids
from mrigan.errors import ConfigError

SPAN = 256  # samples: reads are at most so far ahead of the front that moves through a shard


@dataclass(frozen=True)
class ShardWindow:
    """What the order depends on, besides the drawn samples.

    Attributes:
        shards: open at any moment, over all ranks; at least 2.
        global_batch: samples a step.
        number, offset: (N,) int64: the shard of each sample, and its offset in the shard (see `ShardSet.places`).

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
                f"data.window={self.shards}: one shard of each class must be open", fix="use 2 or more, usually 64"
            )

    @property
    def lanes(self) -> int:
        """The number of lanes."""
        return min(self.shards // 2, self.global_batch)

    def lane(self, position: Ids) -> Ids:
        """The lane of each position in the sequence."""
        return position % self.global_batch * self.lanes // self.global_batch

    def order(self, classes: tuple[Ids, Ids], first: int, word: Callable[[str], np.uint64]) -> Ids:
        """The ids of both `classes` in the order of an epoch that begins at position `first` of the sequence.

        Args:
            classes: the drawn reals and fakes.
            word: a random word of this epoch for a purpose.
        """
        length = sum(map(len, classes))
        place = np.arange(length, dtype=np.int64)
        lane = self.lane(first + place)
        # Each lane takes reals by its share of the epoch, rounded to an integer: r of its c places, at random.
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
        """`ids` shard after shard, in random order of shards; within a shard by offset, each `SPAN` shuffled."""
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

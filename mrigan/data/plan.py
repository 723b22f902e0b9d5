"""The epoch plan: the only place that decides the order and the balance of training samples.

It is a pure function of (labels, seed, epoch) and, in a window, of the shards and the global batch. Random orders are
made by sorting a 64-bit hash of each sample id (SplitMix64, a bijection, so no two samples are equal). No library's
random generator is used, so the order is the same on every machine and with every version of NumPy. `PLAN_VERSION` is
part of the hash; a change of the rule increases it.

Samples are a sequence, epoch after epoch. Step k takes the k-th `global_batch` of them, which may contain the end of
one epoch and the start of the next. So every batch is full, every rank has the same number of batches, and a run
resumes at any step, on any number of ranks, without repeating what came before.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from mrigan.data.hashing import Ids, hash_ids
from mrigan.data.window import ShardWindow
from mrigan.errors import ConfigError, ShardError

PLAN_VERSION = 1
_CACHED_EPOCHS = 2  # a batch may contain samples of two


class EpochPlan:
    """The order of the samples.

    Balanced: an epoch holds every sample of the smaller class once, and as many of the larger class, drawn again for
    each epoch without replacement, shuffled together. Unbalanced: every sample once.

    Ids are indices into `labels`. A `ShardSet` sorts its samples by key, so the plan depends on the data only, not on
    the order in which folders were given or rows were written.

    Args:
        labels: (N,), 1 = fake, 0 = real.
        seed: any integer.
        window: None = the whole epoch is shuffled; else see `ShardWindow`. An epoch holds the same samples.
        balance: False keeps every sample of both classes.

    Raises:
        ShardError: no samples, or a balanced plan without samples of one class.
    """

    def __init__(
        self, labels: npt.ArrayLike, seed: int, window: ShardWindow | None = None, balance: bool = True
    ) -> None:
        fake = np.asarray(labels).astype(bool)
        classes = (np.flatnonzero(~fake), np.flatnonzero(fake))
        if balance and not all(len(ids) for ids in classes):
            missing = "real" if len(classes[0]) == 0 else "fake"
            raise ShardError(
                f"no {missing} sample among {len(fake)}; balanced training needs both classes",
                fix="check the split and the shard folders, or plan without balance",
            )
        if len(fake) == 0:
            raise ShardError("no samples to plan", fix="check the split and the shard folders")
        self.seed, self.window, self.balance = int(seed), window, balance
        self.samples = len(fake)
        self._classes = classes
        smaller = min(len(ids) for ids in classes)
        self._counts = (smaller, smaller) if balance else (len(classes[0]), len(classes[1]))  # in an epoch
        self.epoch_length = self._length = sum(self._counts)
        self._cache: OrderedDict[int, Ids] = OrderedDict()

    def epoch(self, epoch: int) -> Ids:
        """The ids of one epoch in order, (epoch_length,) int64, read-only."""
        if epoch < 0:
            raise ValueError(f"epoch {epoch} is negative")
        if epoch not in self._cache:
            while len(self._cache) >= _CACHED_EPOCHS:
                self._cache.popitem(last=False)
            ids = self._draw(epoch)
            ids.flags.writeable = False
            self._cache[epoch] = ids
        self._cache.move_to_end(epoch)
        return self._cache[epoch]

    def batch(self, step: int, global_batch: int) -> Ids:
        """The ids of global batch `step` (from 0), (global_batch,) int64."""
        return self.batch_with_epochs(step, global_batch)[0]

    def batch_with_epochs(self, step: int, global_batch: int) -> tuple[Ids, Ids]:
        """`batch`, and the epoch of each of its samples."""
        if step < 0 or global_batch < 1:
            raise ValueError(f"step {step} or global batch {global_batch} is out of range")
        if self.window is not None and self.window.global_batch != global_batch:
            raise ValueError(f"the window is for batches of {self.window.global_batch}, not of {global_batch}")
        position, stop = step * global_batch, (step + 1) * global_batch
        ids, epochs = [], []
        while position < stop:
            epoch, offset = divmod(position, self._length)
            count = min(stop - position, self._length - offset)
            ids.append(self.epoch(epoch)[offset : offset + count])
            epochs.append(np.full(count, epoch, dtype=np.int64))
            position += count
        return np.concatenate(ids), np.concatenate(epochs)

    def steps(self, epochs: float, global_batch: int) -> int:
        """The number of steps that covers `epochs` epochs, rounded up to a whole batch."""
        return max(1, -int(-epochs * self._length // global_batch))

    @staticmethod
    def rank_slice(ids: Ids, rank: int, world_size: int) -> Ids:
        """The part of a global batch that belongs to `rank`: the rank-th of `world_size` equal parts."""
        return ids[rank_range(len(ids), rank, world_size)]

    def _draw(self, epoch: int) -> Ids:
        drawn = self._drawn(0, epoch), self._drawn(1, epoch)
        if self.window is not None:
            return self.window.order(drawn, epoch * self._length, lambda purpose: self._word(epoch, purpose))
        together = np.concatenate(drawn)
        return together[np.argsort(hash_ids(together, self._word(epoch, "order")))]

    def _drawn(self, label: int, epoch: int) -> Ids:
        ids, count = self._classes[label], self._counts[label]
        if len(ids) == count:
            return ids
        order = hash_ids(ids, self._word(epoch, f"draw {label}"))
        return ids[np.argpartition(order, count - 1)[:count]]

    def _word(self, epoch: int, purpose: str) -> np.uint64:
        text = f"mrigan epoch plan {PLAN_VERSION}|{self.seed}|{epoch}|{purpose}"
        return np.frombuffer(hashlib.blake2b(text.encode(), digest_size=8).digest(), dtype="<u8")[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": OrderedDict()}


class PairedPlan(EpochPlan):
    """The plan of samples that belong together by two: 2k and 2k + 1 are always side by side in a batch.

    Pairs are of two kinds. An epoch holds as many of each as `share` demands: all of the kind that there are too few
    of, and the others drawn again for each epoch without replacement.

    Args:
        stored: (pairs,), 0 = a self-blend, 1 = a stored fake.
        share: of the pairs of an epoch, that are self-blends; 0 to 1, not reached if there are both kinds.
        window: of the pairs, with half the global batch.
    """

    def __init__(self, stored: npt.ArrayLike, seed: int, window: ShardWindow | None = None, share: float = 1.0) -> None:
        super().__init__(stored, seed, window, balance=False)
        blends, others = self._counts
        if blends and others:
            pairs = min(blends / share, others / (1 - share))
            self._counts = max(round(pairs * share), 1), max(round(pairs * (1 - share)), 1)
            self._length = sum(self._counts)
        self.samples, self.epoch_length = 2 * self.samples, 2 * self._length

    def batch_with_epochs(self, step: int, global_batch: int) -> tuple[Ids, Ids]:
        pairs, epochs = super().batch_with_epochs(step, global_batch // 2)
        return np.stack([2 * pairs, 2 * pairs + 1], axis=1).ravel(), epochs.repeat(2)

    def steps(self, epochs: float, global_batch: int) -> int:
        return super().steps(epochs, global_batch // 2)


def rank_range(global_batch: int, rank: int, world_size: int) -> slice:
    """The slice of a global batch that belongs to a rank.

    Raises:
        ConfigError: the batch cannot be divided evenly among the ranks.
    """
    if global_batch % world_size:
        raise ConfigError(
            f"a global batch of {global_batch} cannot be divided evenly among {world_size} ranks",
            fix=f"set train.batch_size to a multiple of {world_size}",
        )
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} is not below the world size {world_size}")
    part = global_batch // world_size
    return slice(rank * part, (rank + 1) * part)

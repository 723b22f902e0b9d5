"""The held-out faces that a generator is scored on, and its score over both classes."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np
import torch

from mrigan.data import ShardSet


def class_mean(values: torch.Tensor, fake: torch.Tensor) -> float:
    """The mean of the fakes' mean and of the reals' mean of `values`; of one class alone where there is no other."""
    means = [values[fake], values[~fake]]
    return float(torch.stack([part.mean() for part in means if len(part)]).mean())


def choose_faces(shards: ShardSet, count: int) -> Any:
    """Up to `count` ids, as many fakes as reals where both have enough; fakes first, by id within a class.

    They are spread over the families: a second face of a family comes only when all others have given one. Which ones
    depends on the samples' keys alone.
    """
    family = np.asarray(shards.rows["family"].to_pylist(), dtype=object)
    fakes, reals = np.flatnonzero(shards.labels == 1), np.flatnonzero(shards.labels == 0)
    from_reals = min(len(reals), max(count // 2, count - len(fakes)))
    return np.concatenate([_spread(shards, family, fakes, count - from_reals),
                           _spread(shards, family, reals, from_reals)])  # fmt: skip


def _spread(shards: ShardSet, family: Any, ids: Any, count: int) -> Any:
    if len(ids) <= count:
        return ids
    order = {int(i): hashlib.sha256(b"mrigan held-out face " + shards.keys[i]).digest() for i in ids}
    seen: Counter[str] = Counter()
    ranked = []
    for i in sorted(order, key=order.__getitem__):
        ranked.append((seen[family[i]], order[i], i))  # which of its family's faces it is, then at random
        seen[family[i]] += 1
    return np.sort(np.array([i for *_, i in sorted(ranked)[:count]], np.int64))

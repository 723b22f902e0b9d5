"""Random orders that do not depend on a library's version: a 64-bit hash of each id, to be sorted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


def hash_ids(ids: Ids, word: np.uint64) -> npt.NDArray[np.uint64]:
    """SplitMix64 (Steele et al., 2014) of every id, from the state `word`; distinct ids give distinct hashes."""
    x = ids.astype(np.uint64)
    x += np.uint64(1)
    x *= np.uint64(0x9E3779B97F4A7C15)
    x += word
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x

"""The random numbers of one sample: a function of (seed, epoch, key) and of nothing else.

So a sample looks the same on every rank, in every worker and batch, and after an interruption.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SampleRng:
    """256 hashed bits, divided among the uses of a sample.

    Attributes:
        uniform: in [0, 1): decides the flip.
        seed: in [0, 2^63): for what is drawn on the device, after the loader (`random_erasing_`).
    """

    uniform: float
    seed: int
    _key: tuple[int, int]

    @classmethod
    def of(cls, seed: int, epoch: int, key: str) -> SampleRng:
        """The random numbers of sample `key` in `epoch`."""
        digest = hashlib.blake2b(f"mrigan sample 1|{seed}|{epoch}|{key}".encode(), digest_size=32).digest()
        words = [int.from_bytes(digest[k : k + 8], "little") for k in range(0, 32, 8)]
        return cls((words[0] >> 11) * 2.0**-53, words[1] >> 1, (words[2], words[3]))

    def generator(self) -> np.random.Generator:
        """A new generator for the augmentation of the sample."""
        return np.random.Generator(np.random.Philox(key=np.array(self._key, dtype=np.uint64)))

"""Memory for pictures that is used again: fresh pages cost a tenth of what decoding into them does."""

from __future__ import annotations

import math
import weakref

import numpy as np
import numpy.typing as npt
import torch


class Memory:
    """Hands out uint8 tensors; what nothing refers to any more is handed out again."""

    def __init__(self) -> None:
        self._free: dict[int, list[npt.NDArray[np.uint8]]] = {}

    def __call__(self, shape: tuple[int, ...]) -> torch.Tensor:
        """An uninitialised tensor."""
        free = self._free.setdefault(math.prod(shape), [])
        try:
            owner = free.pop()
        except IndexError:
            owner = np.empty(math.prod(shape), np.uint8)
        # A tensor keeps the array that it was made of, and so do its views: when that one goes, nobody looks any more.
        seen = owner.reshape(shape)
        weakref.finalize(seen, free.append, owner).atexit = False
        return torch.from_numpy(seen)


def pinned(shape: tuple[int, ...]) -> torch.Tensor:
    """An uninitialised page-locked tensor, for copies to a GPU that do not wait; torch keeps such memory for itself."""
    return torch.empty(shape, dtype=torch.uint8, pin_memory=True)

"""Random state that checkpoints need not store: every step seeds the generators with (seed, step, rank).

A run that is resumed at step k draws the same numbers there as an uninterrupted run, on CPUs and GPUs. Numbers that an
evaluation or a callback draws in between have no influence.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_of(*key: object) -> int:
    """64 bits of a hash of `key`."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8])


def seed_all(*key: int | str) -> None:
    """Seed Python's, NumPy's and torch's generators (CPU and GPU) by a hash of `key`."""
    number = seed_of(*key)
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


@contextmanager
def deterministic(device: torch.device, tf32: bool = True) -> Iterator[None]:
    """On a CPU, refuse operations whose result depends on timing; on a GPU, let cuDNN choose the fastest kernels.

    Args:
        tf32: compute fp32 products on a GPU's tensor cores, with 10 bits of mantissa.
    """
    cudnn: Any = torch.backends.cudnn
    places = (torch.backends.cuda.matmul, cudnn.conv) if device.type == "cuda" else ()
    before = torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, [p.fp32_precision for p in places]
    torch.use_deterministic_algorithms(device.type == "cpu")
    cudnn.benchmark = device.type == "cuda"
    for place in places:
        place.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.benchmark = before[1]
        for place, precision in zip(places, before[2], strict=True):
            place.fp32_precision = precision

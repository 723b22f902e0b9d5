"""Loading in tests: a short call, pictures by PIL, and when two batches are the same."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from mrigan.data import Batch, EpochPlan, ShardSet
from tests.builders import train_loader

WORKERS = pytest.mark.parametrize(("workers", "kind"), [(0, "threads"), (2, "threads"), (2, "processes")])


def load(shards: ShardSet, plan: EpochPlan, **changes) -> list[Batch]:
    with train_loader(shards, plan, **{"seed": 3} | changes) as batches:
        return list(batches)


def decoded(data: bytes | None) -> np.ndarray:
    """(3, H, W) by PIL."""
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1)


def same(a: Batch, b: Batch) -> bool:
    pictures = torch.equal(a.face, b.face) and (a.mri is b.mri is None or torch.equal(a.mri, b.mri))
    return (
        pictures
        and a.step == b.step
        and all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("label", "ids", "epoch", "seeds"))
    )

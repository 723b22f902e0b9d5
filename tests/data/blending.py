"""Pairs of self-blends and of stored fakes, loaded as a training loads them."""

from __future__ import annotations

from pathlib import Path

from mrigan.data import (
    BlendedShards,
    Loader,
    LoaderOptions,
    PairedPlan,
    PairRecipe,
    SelfBlends,
    ShardSet,
    make_loader,
)
from mrigan.imaging.degrading import Degradation

SIZE = 96
MARGIN = 0.3
CLEAN = PairRecipe(degradation=Degradation(small_prob=0, jpeg_prob=0, h264_prob=0), erase_prob=0)


def opened(folder: Path, recipe: PairRecipe | None = None, share: float = 1.0) -> BlendedShards:
    return BlendedShards(ShardSet.open([folder], "train"), MARGIN, recipe or PairRecipe(), share)


def loader(shards: BlendedShards, steps: range, batch: int = 4, share: float = 1.0, **options: int) -> Loader:
    samples = SelfBlends(shards, size=SIZE, seed=3, flip=0.5, train=True)
    ranks = {name: options.pop(name) for name in ("rank", "world_size") if name in options}
    plan = PairedPlan(shards.stored, seed=3, share=share)
    return make_loader(samples, plan, steps, batch, options=LoaderOptions(**options), **ranks)  # type: ignore[arg-type]


def pictures(batches: Loader) -> list[tuple[bytes, bytes, int, float]]:
    with batches:
        return [(face.numpy().tobytes(), mri.numpy().tobytes(), int(i), float(label)) for batch in batches
                for face, mri, i, label in zip(batch.face, batch.mri, batch.ids, batch.label, strict=True)]  # fmt: skip

"""Pairs of self-blends and of stored fakes, loaded as a training loads them."""

from __future__ import annotations

from pathlib import Path

from mrigan.catalog import scan_catalog, write_catalog
from mrigan.config import ShardsConfig, load_config
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
from mrigan.packing import build_shards, plan_shards
from mrigan.sample import make_sample

SIZE = 96
MARGIN = 0.3
CLEAN = PairRecipe(degradation=Degradation(small_prob=0, jpeg_prob=0, h264_prob=0), erase_prob=0)


def write_landmark_pairs(root: Path) -> Path:
    """Shards of invented people with landmarks, and of fakes of them with their MRIs, in all three splits."""
    make_sample(root / "sample", people=4, seconds=1.0, seed=0)
    catalog, _ = scan_catalog("dfdc", root / "sample", fractions={"train": 0.5, "val": 0.25, "test": 0.25})
    write_catalog(catalog, root / "catalog.parquet")
    config = load_config(
        ShardsConfig, "shards/self-blend.yaml",
        ["pack.kind=pairs", f"faces.margin={MARGIN}", "faces.size=160", "faces.every=3"],
    )  # fmt: skip
    plan_shards(root / "catalog.parquet", config, root / "shards")
    build_shards(root / "shards", workers=1)
    return root / "shards"


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

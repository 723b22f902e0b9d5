"""One small built set, shared by the tests that only read it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mrigan.catalog import Catalog, read_catalog, write_catalog
from mrigan.config import ShardsConfig, load_config
from mrigan.packing import Summary, build_shards, plan_shards
from mrigan.packing.unit import UnitMaker, UnitTask
from mrigan.shardset.manifest import write_manifest
from mrigan.shardset.plan_file import Plan
from tests.packing.videos import write_videos

PNG = ["pack.mri_format=png", "pack.shard_mib=1", "faces.every=3"]  # more pairs a clip than one batch of MRIs


@dataclass(frozen=True)
class Built:
    """A finished shard folder and where it comes from. Read only."""

    folder: Path
    catalog: Path
    clips: Catalog
    summary: Summary


def config(*overrides: str) -> ShardsConfig:
    return load_config(ShardsConfig, "shards/pairs.yaml", list(overrides))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Pairs with PNG MRIs, each family a unit of its own, built by one worker."""
    folder = tmp_path_factory.mktemp("packing")
    clips = write_videos(folder / "videos", folder / "catalog.parquet")
    plan_shards(folder / "catalog.parquet", config(*PNG), folder / "shards")
    summary = build_shards(folder / "shards", workers=1)
    return Built(folder / "shards", folder / "catalog.parquet", clips, summary)


def two_families(built: Built, folder: Path) -> Path:
    """A catalog of the families of Smith (val) and of Hopper (train); their videos are copied beside it."""
    videos = folder / "videos"
    videos.mkdir()
    clips = [clip for clip in read_catalog(built.catalog).clips
             if clip.split == "val" or clip.name in ("hopper", "hopper-swap")]  # fmt: skip
    for clip in clips:
        shutil.copy(built.clips.path(clip), videos / clip.path)
    write_catalog(Catalog(videos, clips), folder / "catalog.parquet")
    return folder / "catalog.parquet"


def make(plan: Plan) -> Path:
    """Build in this process: a set of two units takes a second."""
    maker = UnitMaker(plan)
    for unit in plan.units:
        maker(UnitTask(unit), lambda progress: None)
    write_manifest(plan)
    return plan.folder


@pytest.fixture(scope="session")
def small(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two units, a family each, with their catalog beside the folder. Read only."""
    folder = tmp_path_factory.mktemp("bound")
    return make(plan_shards(two_families(built, folder), config(*PNG, "faces.every=5"), folder / "shards"))


@pytest.fixture
def folder(small: Path, tmp_path: Path) -> Path:
    """A copy of `small` that a test may damage."""
    return Path(shutil.copytree(small, tmp_path / "shards"))


@pytest.fixture
def copy(built: Built, tmp_path: Path) -> Callable[[], Path]:
    """A copy of the built set that a test may damage."""

    def copied() -> Path:
        return Path(shutil.copytree(built.folder, tmp_path / "shards"))

    return copied


def tree(folder: Path) -> dict[str, bytes]:
    """Every file by its relative path, but for the log, which tells the times of each build."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.parent != folder / "log"}  # fmt: skip

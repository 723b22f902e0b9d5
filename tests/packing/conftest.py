"""One small built set, shared by the tests that only read it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mrigan.catalog import Catalog
from mrigan.config import ShardsConfig, load_config
from mrigan.packing import Summary, build_shards, plan_shards
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

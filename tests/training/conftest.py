"""A tiny shard set, and an undisturbed run on it that others are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.runs import run_gan, write_tiny_shards


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, 64 px; see `write_tiny_shards`."""
    return write_tiny_shards(tmp_path_factory.mktemp("tiny") / "shards")


@pytest.fixture(scope="session")
def undisturbed(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of MRI-GAN that nothing disturbed; read-only."""
    return run_gan(shards, tmp_path_factory.mktemp("undisturbed") / "run")

"""Shard folders for the tests of the data room."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from mrigan.data import EpochPlan, ShardSet
from tests.data.serving import Serve, Server
from tests.data.shards import Sample, make_samples, write_shards


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    """30 reals and 53 fakes of train, 5 and 6 of val, in no order of keys."""
    return make_samples(30, 53) + make_samples(5, 6, split="val", seed=1)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> Path:
    """A finished set of pairs; read-only for the tests that share it."""
    return write_shards(tmp_path_factory.mktemp("shards") / "pairs", samples)


@pytest.fixture(scope="module")
def shards(pairs: Path) -> ShardSet:
    return ShardSet.open([pairs], "train", kind="pairs")


@pytest.fixture(scope="module")
def plan(shards: ShardSet) -> EpochPlan:
    return EpochPlan(shards.labels, seed=1)


@pytest.fixture
def others() -> Iterator[set]:
    """The processes that are none of the loader's; after each test no other is left."""
    before = set(multiprocessing.active_children())
    yield before
    assert set(multiprocessing.active_children()) <= before


@pytest.fixture
def serve(pairs: Path, tmp_path: Path) -> Iterator[Serve]:
    """Start servers over the set of pairs."""
    started = []

    def start(root: Path = pairs, **faults: object) -> Server:
        started.append(Server(root, tmp_path, **faults))
        return started[-1]

    yield start
    for server in started:
        server.stop()

"""Fixtures that every room uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mrigan.errors import ModelError
from mrigan.published import FACE_MESH, published_file
from mrigan.threads import settle

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may wait for a hub
# Two workers share two cores; and runs are bit-identical only where they sum with as many threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
settle()

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real, research-only videos that lie beside the project, where they are at hand."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the research-only videos are not on this machine")
    return folder


@pytest.fixture(scope="session")
def face_mesh() -> Path:
    """The landmark network that `make venv` fetches."""
    try:
        return published_file(FACE_MESH)
    except ModelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def landmark_pairs(tmp_path_factory: pytest.TempPathFactory, face_mesh: Path) -> Path:
    """What self-blends are made of: see `write_landmark_pairs`; read-only."""
    from tests.data.blending import write_landmark_pairs  # here, because most tests need neither torch nor a build

    return write_landmark_pairs(tmp_path_factory.mktemp("self-blends"))

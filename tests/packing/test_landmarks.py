"""Landmarks in the samples' json: found on each clip's own pixels, in native px; other sets stay as they were."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from mrigan.catalog import Catalog
from mrigan.packing import build_shards, plan_shards
from mrigan.video import read_frames
from mrigan.video.landmarks import GRID, POINTS, FaceMesh
from tests.packing.conftest import PNG, Built, config


@pytest.fixture(scope="module")
def samples(built: Built, face_mesh: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("landmarks") / "shards"
    plan_shards(built.catalog, config(*PNG, "faces.landmarks=mesh", "pack.splits=[val]"), folder)
    build_shards(folder, workers=1)
    return list(json_members(folder))


def json_members(folder: Path) -> list[dict]:
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found += [json.load(tar.extractfile(m)) for m in tar if m.name.endswith(".json")]  # type: ignore[arg-type]
    return found


def frame_of(clips: Catalog, clip: str, index: int) -> np.ndarray:
    path = next(clips.path(each) for each in clips.clips if each.id == clip)
    return next(frame.image for frame in read_frames(path, every=1) if frame.index == index)


def test_each_clip_has_those_of_its_own_pixels(built: Built, samples: list[dict]) -> None:
    mesh = FaceMesh()
    assert {sample["label"] for sample in samples} == {"real", "fake"}
    for label in ("real", "fake"):
        sample = next(sample for sample in samples if sample["label"] == label)
        image = frame_of(built.clips, sample["clip"], sample["frame"])
        assert [image.shape[1], image.shape[0]] == sample["frame_size"]
        expected = mesh(image, sample["box"])
        stored = np.array(sample["landmarks"])
        assert stored.shape == (POINTS, 2)
        assert np.abs(stored - expected.points[:, :2]).max() <= GRID / 2 + 0.05


def test_they_lie_about_the_box_on_a_grid(samples: list[dict]) -> None:
    for sample in samples:
        points = np.array(sample["landmarks"])
        x0, y0, x1, y1 = sample["box"]
        assert (np.mod(points, GRID) == 0).all()
        assert np.abs(points.mean(axis=0) - [(x0 + x1) / 2, (y0 + y1) / 2]).max() < 0.25 * (y1 - y0)
        assert np.ptp(points[:, 1]) == pytest.approx(y1 - y0, rel=0.35)


def test_without_them_a_set_is_the_one_it_was(built: Built) -> None:
    assert all(sample["landmarks"] is None for sample in json_members(built.folder))
    decides = json.loads((built.folder / "plan.json").read_text())["decides"]
    assert "landmarks" not in decides["config"]["faces"]

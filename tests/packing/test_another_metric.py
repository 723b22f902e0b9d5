"""Another MRI set on the faces that were found once: no detection, the same faces, other MRIs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchmetrics.functional.image.lpips as tm_lpips
import torchvision
import webdataset
from safetensors.torch import save_file
from skimage.metrics import structural_similarity

from mrigan.errors import ConfigError
from mrigan.mri import METRICS
from mrigan.packing import build_shards, plan_from, plan_shards, verify_shards
from tests.packing.conftest import PNG, Built, config, tree

LEARNED = ("lpips", "dists")


def samples(folder: Path) -> dict[str, dict[str, bytes]]:
    urls = sorted(str(path) for path in folder.glob("*.tar"))
    return {s["__key__"]: s for s in webdataset.WebDataset(urls, shardshuffle=False)}


def picture(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture(scope="module")
def small(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The val family, built with the faces found before. Read only."""
    folder = tmp_path_factory.mktemp("metrics") / "small"
    faces = f"pack.faces_dir={built.folder / 'faces'}"
    plan_shards(built.catalog, config(*PNG, "pack.splits=[val]", faces), folder)
    build_shards(folder, workers=1)
    return folder


def test_the_faces_stay_and_the_mris_change(built: Built, small: Path, tmp_path: Path) -> None:
    before = tree(built.folder) | tree(small)
    plan_from(small, ["mri.metric=l1"], tmp_path / "l1")
    summary = build_shards(tmp_path / "l1", workers=1)
    assert "detect" not in summary.seconds  # not a single frame went through the detector ...
    assert {"decode", "mri"} <= summary.seconds.keys()
    assert not (tmp_path / "l1" / "faces").exists()
    assert tree(built.folder) | tree(small) == before  # ... and the old set is as it was
    old, new = samples(small), samples(tmp_path / "l1")
    assert old.keys() == new.keys()
    fakes = 0
    for key, sample in new.items():
        assert sample["face.jpg"] == old[key]["face.jpg"]
        about = json.loads(sample["json"])
        if about["label"] == "real":
            assert sample["mri.png"] == old[key]["mri.png"]
            continue
        fakes += 1
        assert about["mri"] == "l1"
        assert (picture(sample["mri.png"]) != picture(old[key]["mri.png"])).any()
    assert fakes == len(range(0, 21, 3))
    assert verify_shards(tmp_path / "l1") == []


def test_it_is_the_set_that_the_catalog_would_give(built: Built, tmp_path: Path) -> None:
    derived = plan_from(built.folder, ["mri.metric=gmsd"], tmp_path / "derived")
    faces = f"pack.faces_dir={built.folder / 'faces'}"
    planned = plan_shards(built.catalog, config(*PNG, "mri.metric=gmsd", faces), tmp_path / "planned")
    assert derived.hash == planned.hash
    assert tree(tmp_path / "derived") == tree(tmp_path / "planned")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Weight files of the learned metrics: random networks, published linear layers."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    alex = torchvision.models.AlexNet().features.state_dict()
    published = Path(tm_lpips.__file__).parent / "lpips_models" / "alex.pth"
    linear = torch.load(published, map_location="cpu", weights_only=True)
    save_file({f"features.{name}": value for name, value in alex.items()} | linear, folder / "lpips.safetensors")
    (folder / "dists.pt").write_bytes(b"weights")  # planned, not run
    return {"lpips": str(folder / "lpips.safetensors"), "dists": str(folder / "dists.pt")}


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_every_metric_can_be_planned(built: Built, weights: dict[str, str], metric: str, tmp_path: Path) -> None:
    given = [f"mri.weights={weights[metric]}"] if metric in LEARNED else []
    plan = plan_from(built.folder, [f"mri.metric={metric}", *given], tmp_path / metric)
    assert plan.config.mri.metric == metric
    assert plan.config.mri.weights == weights.get(metric)
    assert (plan.hash == plan_from(built.folder, [], tmp_path / "same").hash) == (metric == "ssim")
    if metric in LEARNED:
        with pytest.raises(ConfigError, match="needs a weight file"):
            plan_from(built.folder, [f"mri.metric={metric}"], tmp_path / "none")
        assert plan_from(tmp_path / metric, ["mri.metric=l2"], tmp_path / "next").config.mri.weights is None


def test_a_learned_metric_by_the_command(small: Path, weights: dict[str, str]) -> None:
    """`mrigan shards build DIR --metric lpips --weights FILE` makes DIR-lpips."""
    command = [sys.executable, "-m", "mrigan.cli", "shards", "build", str(small), "--workers", "1", "--metric", "lpips"]
    wrong = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (wrong.returncode, "needs a weight file" in wrong.stderr) == (2, True)
    done = subprocess.run([*command, "--weights", weights["lpips"]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    old, new = samples(small), samples(small.with_name("small-lpips"))
    assert old.keys() == new.keys()
    fake = next(key for key, sample in new.items() if json.loads(sample["json"])["label"] == "fake")
    ours, ssim = (picture(found[fake]["mri.png"]).astype(float) for found in (new, old))
    assert (ours == ours[..., :1]).all()  # a distance of features is grey
    assert (ssim != ssim[..., :1]).any()
    assert structural_similarity(ours, ssim, channel_axis=-1, data_range=255) < 0.99


@pytest.mark.parametrize(("override", "word"), [
    ("faces.every=5", "faces.every: 3 → 5"), ("pack.seed=1", "pack.seed"), ("pack.shard_mib=9", "pack.shard_mib"),
    ("mri.metric=ssimm", "ssim"), ("mri.weights=x.pt", "no weight file"), ("faces.marginn=1", "margin"),
])  # fmt: skip
def test_what_would_change_faces_or_units_is_refused(built: Built, tmp_path: Path, override: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        plan_from(built.folder, [override], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_set_without_mris_has_none_of_another_metric(built: Built, tmp_path: Path) -> None:
    plan_shards(built.catalog, config("pack.kind=faces"), tmp_path / "faces")
    with pytest.raises(ConfigError, match="holds no MRIs"):
        plan_from(tmp_path / "faces", ["mri.metric=l1"], tmp_path / "out")

"""The detector's training as the paper has it: every face each epoch, and no random weights that nobody asked for."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from mrigan.config import DetectorConfig, load_config
from mrigan.engine.distributed import World
from mrigan.errors import ConfigError, ShardError
from mrigan.models import Generator, predict_mri
from mrigan.models.detector import IMAGENET_MEAN
from mrigan.training.data import TrainingData
from mrigan.training.detector import DetectorTask, _pictures, build_network
from tests.conftest import ROOT
from tests.data.shards import make_samples, write_shards
from tests.training.runs import detector_config, hashes, run_detector, run_gan

ALONE = World(0, 1, 0, torch.device("cpu"))
RECIPES = sorted(path.name for path in (ROOT / "configs" / "detector").glob("*.yaml"))


@pytest.mark.parametrize("name", ["face.yaml", "mri.yaml", "authors.yaml"])
def test_the_papers_recipes_see_every_face_each_epoch(name: str) -> None:
    config = load_config(DetectorConfig, f"detector/{name}", ["run.dir=x"])
    assert (config.data.balance, config.loss.balanced, config.data.crop) == ("none", True, "authors")


def test_every_face_comes_once_an_epoch(shards: Path, tmp_path: Path) -> None:
    config = detector_config(shards, tmp_path, "data.balance=none")
    data = TrainingData.open(DetectorTask(config), ALONE)
    train, plan = data.train, data.plan
    assert (len(train), int(train.labels.sum())) == (51, 30)
    batches = np.concatenate([plan.batch(step, 17) for step in range(6)])
    assert [sorted(part.tolist()) for part in (batches[:51], batches[51:])] == [list(range(51))] * 2
    config = detector_config(shards, tmp_path, "data.balance=classes")
    balanced = TrainingData.open(DetectorTask(config), ALONE).plan
    assert (plan.epoch_length, balanced.epoch_length) == (51, 42)


def test_a_run_of_every_face_is_resumed_exactly(shards: Path, tmp_path: Path) -> None:
    own = ["data.balance=none", "checkpoint.every=4"]
    whole = run_detector(shards, tmp_path / "whole", *own, "train.steps=8")
    run_detector(shards, tmp_path / "parts", *own, "train.steps=5")
    parts = run_detector(shards, tmp_path / "parts", *own, "train.steps=8")
    assert hashes(whole, 8) == hashes(parts, 8)


def test_one_class_alone_teaches_nothing(tmp_path: Path) -> None:
    samples = [*make_samples(0, 9, size=64), *make_samples(3, 3, split="val", seed=1, size=64)]
    write_shards(tmp_path / "shards", samples)
    with pytest.raises(ShardError, match="all fake"):
        run_gan(tmp_path / "shards", tmp_path / "run", "data.balance=none")


def test_what_is_erased_from_an_mri_is_mean_grey_and_never_black(shards: Path, tmp_path: Path) -> None:
    """Black is what an MRI says of a real face; the network's own zero says nothing."""
    config = detector_config(shards, tmp_path, "data.input=mri")
    G = Generator(size=64, width=8).eval()
    faces = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (60, 3, 64, 64), dtype=np.uint8))
    seen, whole = _pictures(faces, torch.arange(60), G, config), predict_mri(G, faces)
    erased = (seen != whole).any(dim=1)
    assert 8 < int(erased.flatten(1).any(dim=1).sum()) < 30  # .3 of them
    colours = seen.permute(0, 2, 3, 1)[erased]
    assert torch.allclose(colours, torch.tensor(IMAGENET_MEAN).expand_as(colours))
    detector = build_network(config)
    assert ((colours - detector.mean.flatten()) / detector.std.flatten()).abs().max() < 1e-5


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_where_it_starts_from(name: str) -> None:
    """By a word, or by nothing, which asks for one."""
    weights = load_config(DetectorConfig, f"detector/{name}", ["run.dir=x"]).model.weights
    assert weights in ("", "random", "package:efficientnet-lite0")
    assert (weights == "random") == (name in ("cpu-smoke.yaml", "ablation-1-nothing.yaml"))


def test_random_weights_are_asked_for_by_name(shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"(?s)initial weights of .* are missing.*model.weights=random"):
        run_detector(shards, tmp_path / "run", "model.weights=")
    assert not (tmp_path / "run").exists()
    caplog.set_level(logging.INFO)
    run_detector(shards, tmp_path / "run", "train.steps=1")
    assert "test_efficientnet.r160_in1k starts from RANDOM weights" in caplog.text
    caplog.clear()
    given = ["model.backbone=tf_efficientnet_lite0", "model.weights=package:efficientnet-lite0", "train.steps=1"]
    run_detector(shards, tmp_path / "lite", *given)
    assert "tf_efficientnet_lite0 starts from the weights package:efficientnet-lite0" in caplog.text
    assert "RANDOM" not in caplog.text


def test_the_doctor_asks_for_weights() -> None:
    def found(*given: str) -> list[str]:
        config = load_config(DetectorConfig, "detector/face.yaml", ["run.dir=x", *given])
        return [finding.level.name for finding in DetectorTask.findings(config)]

    assert found() == found("model.weights=nowhere.safetensors") == ["PROBLEM"]
    assert found("model.weights=random") == ["NOTE"]
    assert found(f"model.weights={ROOT / 'setup.cfg'}") == ["OK"]  # what is in it, loading tells

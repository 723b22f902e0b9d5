"""`mrigan train map`: its losses, exact resumption, and the model it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mrigan.config import MapConfig, OptimConfig
from mrigan.data import Batch
from mrigan.engine.build import build_engine
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.errors import ConfigError
from mrigan.losses import map_loss
from mrigan.models import Discriminator, load_bundle
from mrigan.training.map import build_map_detector, map_step
from mrigan.training.train import train
from tests.training.runs import hashes, logged, map_config, write_tiny_shards

ALONE = World(0, 1, 0, torch.device("cpu"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("map") / "shards")


def test_the_map_loss_is_that_of_the_mean_in_each_place() -> None:
    draw = np.random.default_rng(0)
    logits, target = draw.normal(size=(2, 3, 4, 4)), draw.random((2, 3, 16, 16))
    y = target.reshape(2, 3, 4, 4, 4, 4).mean((3, 5))
    p = 1 / (1 + np.exp(-logits))
    l1, bce = map_loss(torch.tensor(logits), torch.tensor(target))
    assert float(l1) == pytest.approx(np.abs(p - y).mean(), rel=1e-5)
    assert float(bce) == pytest.approx(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(), rel=1e-5)


def step(tmp_path: Path, parts: int, *words: str) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """One step on four faces, BatchNorm in eval mode: it would look at each part by itself."""
    config: MapConfig = map_config(tmp_path, tmp_path, "model.dropout=0", f"engine.accumulate={parts}", *words)
    config.model.drop_path = 0.0
    torch.manual_seed(0)
    networks: dict[str, torch.nn.Module] = {"detector": build_map_detector(config).eval()}
    if config.loss.adversarial != "none":
        networks["discriminator"] = Discriminator(4)
    precision = Precision("fp32", ALONE.device)
    optim = OptimConfig(name="sgd", lr=0.1, momentum=0.0)
    engines: dict[str, Engine] = {
        name: build_engine(network, optim, config.engine, ALONE, precision) for name, network in networks.items()
    }
    networks["detector"].eval()
    draw = torch.Generator().manual_seed(0)
    face, mri = (torch.randint(0, 256, (4, 3, 64, 64), generator=draw).to(torch.uint8) for _ in range(2))
    mri[::2] = 0
    zeros = torch.zeros(4, dtype=torch.int64)
    batch = Batch(face, mri, torch.tensor([0.0, 1.0, 0.0, 1.0]), zeros, zeros, zeros, 0)
    result = map_step(engines["detector"], engines.get("discriminator"), batch, config=config, precision=precision,
                      world=ALONE)  # fmt: skip
    values = {name: float(value) for name, value in {**result.losses, **result.metrics}.items()}
    return values, {f"{n}/{k}": v.clone() for n, net in networks.items() for k, v in net.state_dict().items()}


@pytest.mark.parametrize("adversarial", ["none", "log"])
def test_parts_make_the_whole(tmp_path: Path, adversarial: str) -> None:
    values, weights = step(tmp_path, 4, f"loss.adversarial={adversarial}")
    expected, whole = step(tmp_path, 1, f"loss.adversarial={adversarial}")
    assert values == pytest.approx(expected, rel=1e-4)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, whole[name], rtol=1e-3, atol=1e-5, msg=name)


def test_the_loss_is_the_weighted_sum(tmp_path: Path) -> None:
    words = ["loss.map_l1=3", "loss.map_bce=0.5", "loss.adversarial=least_squares", "loss.adversarial_weight=0.2"]
    v, _ = step(tmp_path, 1, *words)
    total = v["class"] + 3 * v["map_l1"] + 0.5 * v["map_bce"] + 0.2 * v["adversarial"]
    assert v["loss"] == pytest.approx(total, rel=1e-5)
    assert v["discriminator"] > 0


def test_a_head_without_weight_does_not_learn(tmp_path: Path) -> None:
    """With no weight on the MRI and none of it in the logit, the decoder's last bias gets no gradient from the map."""
    _, alone = step(tmp_path, 1, "loss.map_l1=0", "loss.map_bce=0")
    _, both = step(tmp_path, 1)
    bias = "detector/decoder.last.bias"
    assert (both[bias] - alone[bias]).abs().max() > 1e-3


OPTIONS = ["train.steps=6", "checkpoint.every=2", "eval.every=3", "model.ema_half_life=40", "loss.adversarial=log",
           "data.balance=classes"]  # fmt: skip


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train("map", map_config(shards, tmp_path_factory.mktemp("map") / "run", *OPTIONS))


def test_a_run_in_parts_is_the_whole_run(shards: Path, run: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    for steps in (2, 4, 6):
        train("map", map_config(shards, parts, *OPTIONS, f"train.steps={steps}"))
    assert hashes(parts, 6) == hashes(run, 6)
    assert {"detector.safetensors", "detector_ema.safetensors", "discriminator.safetensors"} <= hashes(run, 6).keys()


def test_the_average_is_evaluated_and_becomes_the_model(run: Path) -> None:
    """The model that the run ends with is the average of the best step, norms included."""
    for key in ("mri_auc", "mri_real", "mri_fake", "auc", "loss"):
        values = logged(run, f"val/{key}")
        assert {3, 6} <= values.keys()
        assert all(np.isfinite(list(values.values())))
    bundle = load_bundle(run / "model")
    assert bundle.card.registered_name == "mrigan-map"
    assert bundle.card.detector.decoder == [16, 8]
    step = json.loads((run / "model" / "model.json").read_text())["provenance"]["step"]
    (file,) = run.glob(f"checkpoints/*{step}/detector_ema.safetensors")
    stored = load_file(file)
    assert all(torch.equal(tensor, stored[name]) for name, tensor in bundle.detector.state_dict().items())
    weights = load_file(file.with_name("detector.safetensors"))
    assert any(not torch.equal(stored[name], weights[name]) for name in stored if name.endswith("running_mean"))


@pytest.mark.parametrize(("word", "message"), [
    ("data.input=mri", "draws MRIs itself"), ("model.generator=g.safetensors", "draws MRIs itself"),
    ("model.size=72 loss.adversarial=log", "multiple of 16"), ("model.decoder=[]", "decoder"),
])  # fmt: skip
def test_settings_that_contradict_each_other(shards: Path, tmp_path: Path, word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train("map", map_config(shards, tmp_path / "run", *word.split()))
    assert not (tmp_path / "run").exists()

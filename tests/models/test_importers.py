"""Published detectors: files of each exact format give models with the outputs of independently written networks."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import functional as TF

from mrigan.errors import ConfigError, ModelError
from mrigan.models import load_bundle
from mrigan.models.bundle import Bundle
from mrigan.models.importers import IMPORTERS, read_published
from tests.models.published_networks import (
    Bench,
    BenchEfficientNet,
    BenchXception,
    EfficientNetPytorch,
    SelfBlended,
    authors,
    save_authors,
    save_sbi,
    save_winner,
    seeded,
    smooth,
    winner,
)
from tests.models.test_gan import Published, published_checkpoint

TOLERANCE = 1e-5


def imported(kind: str, files: list[Path], out: Path) -> Bundle:
    read_published(kind, files).save(out)
    return load_bundle(out)


@torch.no_grad()
def probabilities(network: nn.Module, pictures: Tensor) -> Tensor:
    """Of being fake: softmax's second output, or the sigmoid of the only one."""
    logits = network(pictures.float() / 255)
    return logits.softmax(1)[:, 1] if logits.dim() == 2 else logits.sigmoid()


def same(bundle: Bundle, expected: Tensor, pictures: Tensor) -> None:
    torch.testing.assert_close(bundle.predict(pictures)[0], expected, atol=TOLERANCE, rtol=0)
    assert expected.min() > 0.01
    assert expected.max() < 0.99
    assert expected.std() > 1e-3


def test_self_blended_images(tmp_path: Path) -> None:
    network = seeded(SelfBlended("b0"), 1)
    bundle = imported("sbi", [save_sbi(tmp_path / "sbi.tar", network)], tmp_path / "model")
    pictures = smooth(380)
    same(bundle, probabilities(network, pictures), pictures)
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    assert card["detector"]["mean"] == [0, 0, 0]
    assert card["judging"] == {"rule": "mean", "frame": "largest"}
    assert "research only" in card["provenance"]["terms"]
    assert card["provenance"]["imported"][0]["file"] == "sbi.tar"


def test_deepfakebench_pads_for_another_size_than_that_of_the_picture(tmp_path: Path) -> None:
    network = seeded(Bench(BenchEfficientNet("b2")), 2)
    torch.save(network.state_dict(), tmp_path / "effnb4_best.pth")
    bundle = imported("deepfakebench", [tmp_path / "effnb4_best.pth"], tmp_path / "model")
    pictures = smooth(256)
    same(bundle, probabilities(network, pictures), pictures)
    assert bundle.faces.align == "points5"


@pytest.mark.parametrize("dropout", [False, True])
def test_deepfakebenchs_xception(dropout: bool, tmp_path: Path) -> None:
    network = seeded(Bench(BenchXception(dropout)), 3)
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(state, tmp_path / "xception_best.pth")
    bundle = imported("deepfakebench", [tmp_path / "xception_best.pth"], tmp_path / "model")
    pictures = smooth(256)
    same(bundle, probabilities(network, pictures), pictures)


def test_several_networks_of_the_dfdcs_winner_are_an_ensemble(tmp_path: Path) -> None:
    networks = [winner(seed) for seed in (4, 5, 6)]
    files = [save_winner(tmp_path / f"final_{i}_b7_ns_0_36", network) for i, network in enumerate(networks)]
    bundle = imported("dfdc-winner", files, tmp_path / "model")
    pictures = smooth(380)
    each = torch.stack([probabilities(network, pictures) for network in networks], 1)
    same(bundle, each.mean(1), pictures)
    torch.testing.assert_close(bundle.weigh(pictures)[0].sigmoid(), each, atol=TOLERANCE, rtol=0)
    assert (each.std(1) > 0.01).all()
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {"model.json", "detector.safetensors", "detector-2.safetensors", "detector-3.safetensors"}
    single = imported("dfdc-winner", files[:1], tmp_path / "single")
    same(single, each[:, 0], pictures)
    (tmp_path / "model" / "detector-3.safetensors").unlink()
    with pytest.raises(ModelError, match="missing"):
        load_bundle(tmp_path / "model")


def test_the_authors_detector_of_smooth(tmp_path: Path) -> None:
    network = authors(7)
    bundle = imported("authors", [save_authors(tmp_path / "plain.chkpt", network)], tmp_path / "model")
    pictures = smooth(224)
    same(bundle, probabilities(network, pictures), pictures)
    assert bundle.thresholds == {"frame": 0.8, "fraction": 0.3}
    assert (bundle.faces.size, bundle.faces.resize, bundle.faces.every) == (224, "antialiased", 10)


@torch.no_grad()
def test_the_authors_detector_of_mris_is_shown_what_it_was_trained_on(tmp_path: Path) -> None:
    """A G in train mode, its output cut at 0 and stored in 255 levels; each face with the same noise."""
    network = authors(8)
    G: Any = published_checkpoint(tmp_path / "G.chkpt", 4, "")
    checkpoint = save_authors(tmp_path / "mri.chkpt", network)
    bundle = imported("authors", [checkpoint, tmp_path / "G.chkpt"], tmp_path / "model")
    assert (bundle.input, bundle.thresholds) == ("mri", {"frame": 0.7, "fraction": 0.3})
    pictures = smooth(256, 3)
    shown = []
    for picture in pictures:
        torch.manual_seed(0)
        mri = G.train()(picture[None].float() / 127.5 - 1)
        stored = mri[0].mul(255).add(0.5).clamp(0, 255).to(torch.uint8)  # torchvision's save_image
        shown.append(TF.resize(stored.float() / 255, [224, 224], antialias=True))
    expected = network(torch.stack(shown)).sigmoid()
    probs, mris = bundle.predict(pictures)
    # One level of the MRI's 255 may fall on the other side of a half.
    torch.testing.assert_close(probs, expected, atol=2e-4, rtol=0)
    assert mris is not None
    assert mris.float().std() > 1
    alone, _ = bundle.predict(pictures[2:])
    torch.testing.assert_close(alone, probs[2:], atol=TOLERANCE, rtol=0)
    plain = Bundle(bundle.detector, bundle.generator, load_bundle(tmp_path / "model").card)
    object.__setattr__(plain.card, "mri_input", "mri")
    assert (plain.predict(pictures)[0] - probs).abs().max() > 1e-3


def test_a_batch_does_not_change_the_noise_of_the_program(tmp_path: Path) -> None:
    published_checkpoint(tmp_path / "G.chkpt", 4, "")
    files = [save_authors(tmp_path / "mri.chkpt", authors()), tmp_path / "G.chkpt"]
    bundle = imported("authors", files, tmp_path / "model")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    bundle.predict(smooth(256, 1))
    assert torch.equal(torch.rand(2), expected)
    assert not bundle.generator.training  # type: ignore[union-attr]


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["sbi", "deepfakebench", "dfdc-winner"])
def test_at_the_published_size(kind: str, tmp_path: Path) -> None:
    """EfficientNet-B4 and -B7; a file of the winner has 266 MB."""
    size = 256 if kind == "deepfakebench" else 380
    network: Any
    if kind == "sbi":
        network = seeded(SelfBlended("b4"), 9)
        save_sbi(tmp_path / "file", network)
    elif kind == "deepfakebench":
        network = seeded(Bench(BenchEfficientNet("b4")), 9)
        torch.save(network.state_dict(), tmp_path / "file")
    else:
        network = winner(9, "b7", 2560)
        save_winner(tmp_path / "file", network)
    bundle = imported(kind, [tmp_path / "file"], tmp_path / "model")
    pictures = smooth(size)
    torch.testing.assert_close(bundle.predict(pictures)[0], probabilities(network, pictures), atol=TOLERANCE, rtol=0)


@pytest.mark.skipif(importlib.util.find_spec("efficientnet_pytorch") is None, reason="the package is not installed")
@pytest.mark.parametrize("kind", ["b0", "b4"])
@torch.no_grad()
def test_the_network_of_these_tests_is_the_package(kind: str) -> None:
    from efficientnet_pytorch import EfficientNet  # type: ignore[import-not-found]

    theirs = seeded(EfficientNet.from_name(f"efficientnet-{kind}", num_classes=2))
    ours = EfficientNetPytorch(kind).eval()
    ours.load_state_dict(theirs.state_dict())
    for size in (256, 380):
        x = smooth(size) / 255
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


# ------------------------------------------------------------------------------------------- what is not such a file


class _Opens:
    """An object whose pickle opens a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By kind, what a good file holds."""
    folder = tmp_path_factory.mktemp("good")
    paths = {
        "sbi": save_sbi(folder / "sbi", seeded(SelfBlended("b0"))),
        "authors": save_authors(folder / "authors", authors()),
        "dfdc-winner": folder / "winner",
        "deepfakebench": folder / "bench",
    }
    state = {f"module.{name}": tensor for name, tensor in winner(0).state_dict().items()}
    torch.save({"state_dict": state, "epoch": 1}, paths["dfdc-winner"])
    torch.save(seeded(Bench(BenchEfficientNet("b0"))).state_dict(), paths["deepfakebench"])
    return {kind: torch.load(path) for kind, path in paths.items()}


def weights_of(content: dict[str, Any], kind: str) -> dict[str, Tensor]:
    key = {"sbi": "model", "authors": "model_state_dict", "dfdc-winner": "state_dict", "deepfakebench": ""}[kind]
    return content[key] if key else content


def wrong_shape(state: dict[str, Tensor]) -> None:
    name = next(name for name in state if name.endswith("_bn1.bias") or name.endswith("bn1.bias"))
    state[name] = torch.zeros(3)


def missing(state: dict[str, Tensor]) -> None:
    del state[next(name for name in state if name.endswith("running_var"))]


def unknown(state: dict[str, Tensor]) -> None:
    state["backbone.extra\n.weight"] = torch.zeros(2)


def not_a_number(state: dict[str, Tensor]) -> None:
    next(iter(state.values())).view(-1)[0] = torch.nan


def too_many_blocks(state: dict[str, Tensor]) -> None:
    name = next(name for name in state if "blocks." in name)
    state[name.replace("blocks.0.", "blocks.77.", 1)] = torch.zeros(1)


def boundless(state: dict[str, Tensor]) -> None:
    """A tensor of 4 TB that a file of a kilobyte holds."""
    name = next(iter(state))
    state[name] = torch.zeros(1).expand(1 << 20, 1 << 20)


@pytest.mark.parametrize("kind", IMPORTERS)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (wrong_shape, r"has the shape \(3,\)"),
        (missing, "is missing"),
        (unknown, r"is not known|no EfficientNet has"),
        (not_a_number, "NaN or infinite"),
        (too_many_blocks, "no EfficientNet has"),
        (boundless, "not stored in full"),
    ],
)
def test_other_weights_are_refused(
    kind: str, damage: Callable[[dict[str, Tensor]], None], message: str, good: dict[str, Any], tmp_path: Path
) -> None:
    content = dict(good[kind])
    state = {name: tensor.clone() for name, tensor in weights_of(content, kind).items()}
    damage(state)
    if state is not content and weights_of(content, kind) is not content:
        content[next(key for key, value in content.items() if value is weights_of(good[kind], kind))] = state
    else:
        content = state
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(ModelError, match=message) as error:
        read_published(kind, [tmp_path / "file.pth"])
    assert "\n" not in error.value.what
    assert error.value.fix


@pytest.mark.parametrize("kind", IMPORTERS)
def test_files_of_another_kind_and_files_with_code_are_refused(
    kind: str, good: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "file.pth"
    for other, content in good.items():
        if other != kind:
            torch.save(content, path)
            with pytest.raises(ModelError):
                read_published(kind, [path])
    torch.save({**good[kind], "x": _Opens(tmp_path / "ran")}, path)
    with pytest.raises(ModelError, match="code or objects"):
        read_published(kind, [path])
    assert not (tmp_path / "ran").exists()
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match="damaged"):
        read_published(kind, [path])
    os.mkfifo(tmp_path / "pipe")
    for absent in (tmp_path / "none", tmp_path, tmp_path / "pipe"):
        with pytest.raises(ModelError):
            read_published(kind, [absent])


def test_what_does_not_go_together_is_refused(good: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    torch.save(good["authors"], tmp_path / "a")
    published_checkpoint(tmp_path / "g", 4, "")
    torch.save(good["dfdc-winner"], tmp_path / "w")
    larger = {f"module.{name}": t for name, t in winner(0, "b1").state_dict().items()}
    torch.save({"state_dict": larger}, tmp_path / "w1")
    for kind, names, message in (
        ("authors", "aa", "2 detectors and 0 generators"),
        ("authors", "gg", "0 detectors and 2 generators"),
        ("sbi", "aa", "2 files"),
        ("deepfakebench", "", "0 files"),
        ("dfdc-winner", "w" * 17, "17 files"),
        ("retinaface", "a", "no published models are known"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_published(kind, [tmp_path / name for name in names])
    with pytest.raises(ConfigError, match="different networks"):
        read_published("dfdc-winner", [tmp_path / "w", tmp_path / "w1"])


def test_a_generator_alone_is_a_file(tmp_path: Path) -> None:
    assert isinstance(published_checkpoint(tmp_path / "g", 4, "module."), Published)
    found = read_published("authors", [tmp_path / "g"])
    found.save(tmp_path / "G.safetensors")
    assert (tmp_path / "G.safetensors").is_file()
    assert not found.networks


def test_numbers_of_numpy_are_read_and_its_arrays_are_not(tmp_path: Path, good: dict[str, dict[str, Any]]) -> None:
    content = {**good["dfdc-winner"], "bce_best": np.float64(0.2), "epoch": np.int64(3)}
    torch.save(content, tmp_path / "w")
    assert read_published("dfdc-winner", [tmp_path / "w"]).networks
    torch.save({**content, "all": np.array([print], dtype=object)}, tmp_path / "w")
    with pytest.raises(ModelError, match="code or objects"):
        read_published("dfdc-winner", [tmp_path / "w"])

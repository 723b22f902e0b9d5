"""Bundles: written whole, checked before use, and predicting as their networks do."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mrigan.config import FacesConfig
from mrigan.config.model_card import ModelCard
from mrigan.errors import ConfigError, ModelError
from mrigan.files import sha256_file
from mrigan.models import Detector, Generator, load_bundle, predict_mri, save_bundle
from mrigan.models.bundle import Bundle

THRESHOLDS = {"frame": 0.7, "fraction": 0.3}
FACES = torch.randint(0, 256, (5, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def networks() -> tuple[Detector, Generator]:
    torch.manual_seed(0)
    return Detector("mobilenetv3_small_050", size=32, hidden=8), Generator(16, 4)


def saved(folder: Path, networks: tuple[Detector, Generator], input: str = "mri", with_g: bool = True) -> Path:
    return save_bundle(
        folder,
        networks[0],
        input,
        networks[1] if with_g else None,
        faces=asdict(FacesConfig()),
        thresholds=THRESHOLDS,
        provenance={"run": "r1"},
    )


def test_what_was_saved_is_loaded(tmp_path: Path, networks: tuple[Detector, Generator]) -> None:
    bundle = load_bundle(saved(tmp_path / "model", networks))
    assert bundle.input == "mri"
    assert bundle.thresholds == THRESHOLDS
    assert bundle.faces == FacesConfig()
    assert bundle.card.provenance == {"run": "r1"}
    assert bundle.card.schema_version == 1
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "detector.safetensors",
        "generator.safetensors",
        "model.json",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    probs, mris = bundle.predict(FACES, batch_size=2)
    detector, G = networks
    detector.eval()
    expected = predict_mri(G, FACES)
    with torch.no_grad():
        torch.testing.assert_close(probs, torch.sigmoid(detector(expected)), atol=1e-5, rtol=1e-4)
    assert mris is not None
    assert mris.dtype == torch.uint8
    assert (mris.float() / 255 - expected).abs().max() < 1 / 254
    torch.testing.assert_close(torch.sigmoid(bundle.score(FACES)), probs)


def test_prediction_is_in_eval_mode(networks: tuple[Detector, Generator]) -> None:
    detector, G = networks
    bundle = Bundle(detector.train(), G.train(), ModelCard(input="mri"))
    first, second = bundle.predict(FACES), bundle.predict(FACES)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])  # type: ignore[arg-type]


def test_a_face_detector_may_carry_a_generator_for_show(tmp_path: Path, networks: tuple[Detector, Generator]) -> None:
    plain = load_bundle(saved(tmp_path / "plain", networks, "face", with_g=False))
    shown = load_bundle(saved(tmp_path / "shown", networks, "face"))
    probs, mris = plain.predict(FACES)
    assert mris is None
    torch.testing.assert_close(shown.predict(FACES)[0], probs)
    assert shown.predict(FACES)[1].shape == (5, 3, 16, 16)  # type: ignore[union-attr]
    with torch.no_grad():
        torch.testing.assert_close(torch.sigmoid(networks[0].eval()(FACES / 255)), probs, atol=1e-5, rtol=1e-4)


def test_no_faces_give_no_predictions(tmp_path: Path, networks: tuple[Detector, Generator]) -> None:
    bundle = load_bundle(saved(tmp_path / "m", networks))
    probs, mris = bundle.predict(FACES[:0])
    assert probs.shape == (0,)
    assert mris.shape == (0, 3, 16, 16)  # type: ignore[union-attr]


def test_an_older_bundle_is_replaced_but_nothing_else(tmp_path: Path, networks: tuple[Detector, Generator]) -> None:
    saved(tmp_path / "model", networks)
    saved(tmp_path / "model", networks, "face", with_g=False)
    assert load_bundle(tmp_path / "model").input == "face"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("mine")
    with pytest.raises(ModelError, match="is not a model folder"):
        saved(tmp_path / "photos", networks)
    with pytest.raises(ModelError, match="there is a file of this name"):
        saved(tmp_path / "photos" / "a.txt", networks)
    assert (tmp_path / "photos" / "a.txt").read_text() == "mine"


def test_a_failed_save_leaves_the_older_bundle(tmp_path: Path, networks: tuple[Detector, Generator]) -> None:
    saved(tmp_path / "model", networks)
    before = (tmp_path / "model" / "model.json").read_bytes()
    with pytest.raises(ConfigError, match=r"provenance\.loss=nan: not a number"):
        save_bundle(tmp_path / "model", networks[0], faces={}, thresholds=THRESHOLDS, provenance={"loss": float("nan")})
    assert (tmp_path / "model" / "model.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_incomplete_bundles_are_not_written(tmp_path: Path, networks: tuple[Detector, Generator]) -> None:
    for kwargs in ({"input": "mri"}, {"input": "eyes"}, {"thresholds": {"frame": 0.5}}):
        with pytest.raises(ConfigError):
            save_bundle(tmp_path / "m", networks[0], **{"faces": {}, "thresholds": THRESHOLDS, **kwargs})  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["detector.safetensors", "generator.safetensors"])
def test_a_changed_or_missing_weight_file_is_refused(
    name: str, tmp_path: Path, networks: tuple[Detector, Generator]
) -> None:
    path = saved(tmp_path / "m", networks) / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged, or replaced"):
        load_bundle(tmp_path / "m")
    path.unlink()
    with pytest.raises(ModelError, match="missing"):
        load_bundle(tmp_path / "m")


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"kind": "other"},
        {"input": 3},
        {"input": "eyes"},
        {"thresholds": {}},
        {"faces": []},
        {"thresholds": THRESHOLDS | {"other": "high"}},
        {"detector": None},
        {"detector": {"backbone": "x"}},
        {"detector": {"backbone": "hf-hub:a/b"}},
        {"detector": {"backbone": "resnet18", "weights": "/etc/passwd"}},
        {"detector": {"backbone": "mobilenetv3_small_075", "size": 32, "hidden": 8}},
        {"detector": {"backbone": "mobilenetv3_small_050", "size": -32, "hidden": 8}},
        {"detector": {"backbone": "mobilenetv3_small_050", "size": 32, "hidden": "8"}},
        {"files": {}},
        {"files": {"detector.safetensors": "no dict"}},
        {"files": {"../../etc/passwd": {"sha256": "0"}}},
    ],
)
def test_a_wrong_model_json_is_refused(change: dict, tmp_path: Path, networks: tuple[Detector, Generator]) -> None:
    path = saved(tmp_path / "m", networks) / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError):
        load_bundle(tmp_path / "m")


def test_folders_that_are_no_bundle(tmp_path: Path, networks: tuple[Detector, Generator]) -> None:
    with pytest.raises(ModelError, match=r"no model\.json(.|\n)*to do"):
        load_bundle(tmp_path)
    with pytest.raises(ModelError, match=r"no model\.json"):
        load_bundle(tmp_path / "none")
    path = saved(tmp_path / "m", networks) / "model.json"
    for content in (b"", b"{", b"[" * 100_000, b"\xff\xfe", b" " * (5 << 20), b"[]"):
        path.write_bytes(content)
        with pytest.raises(ModelError):
            load_bundle(tmp_path / "m")


def test_weights_in_16_bits_score_as_they_were_rounded(tmp_path: Path, networks: tuple[Detector, Generator]) -> None:
    """Matrices and kernels are half as large, norms and biases stay; what is loaded are 32 bits again."""
    detector, _ = networks
    folders = [
        save_bundle(tmp_path / str(half), detector, faces={}, thresholds=THRESHOLDS, half=half)
        for half in (False, True)
    ]
    sizes = [(folder / "detector.safetensors").stat().st_size for folder in folders]
    assert sizes[1] < 0.6 * sizes[0]
    stored = load_file(folders[1] / "detector.safetensors")
    loaded = load_bundle(folders[1]).detector.state_dict()
    for name, tensor in detector.state_dict().items():
        wide = tensor.ndim > 1
        assert stored[name].dtype == (torch.float16 if wide else tensor.dtype)
        assert torch.equal(loaded[name], tensor.half().float() if wide else tensor)


def test_other_types_are_refused(tmp_path: Path, networks: tuple[Detector, Generator]) -> None:
    folder = save_bundle(tmp_path / "model", networks[0], faces={}, thresholds=THRESHOLDS)
    file = folder / "detector.safetensors"
    save_file({name: t.bfloat16() if t.ndim > 1 else t for name, t in load_file(file).items()}, file)
    card = json.loads((folder / "model.json").read_text())
    card["files"][file.name] = {"sha256": sha256_file(file), "bytes": file.stat().st_size}
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="BF16"):
        load_bundle(folder)

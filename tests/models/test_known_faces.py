"""How far a face lies from the training faces: by NumPy place by place; kept in a bundle, refused where damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mrigan.config import FacesConfig, to_dict
from mrigan.config.model_card import ModelCard
from mrigan.errors import ModelError
from mrigan.files import sha256_file, write_json
from mrigan.models import Bundle, Detector, Generator, load_bundle, save_bundle
from mrigan.models.bundle import KNOWN_FILE
from mrigan.models.known_faces import KnownFaces, fit_known_faces, layers_of

FAMILIES = torch.tensor([0, 0, 1, 1, 1, 2, 3, 3])


def by_hand(known: np.ndarray, faces: np.ndarray, others: list[np.ndarray] | None = None) -> np.ndarray:
    """The mean over places of one minus the best cosine; `others`: which known faces each face is compared with."""
    distances = []
    for i, face in enumerate(faces):
        candidates = known if others is None else known[others[i]]
        gaps = []
        for y in range(face.shape[1]):
            for x in range(face.shape[2]):
                a, b = face[:, y, x], candidates[:, :, y, x]
                gaps.append(1 - (b @ a / np.linalg.norm(b, axis=1) / np.linalg.norm(a)).max())
        distances.append(np.mean(gaps))
    return np.array(distances)


def whitened(maps: np.ndarray, by: np.ndarray) -> np.ndarray:
    """`maps` with the mean and the shrunk covariance of `by` taken out of the channels."""
    flat = by.transpose(1, 0, 2, 3).reshape(by.shape[1], -1)
    covariance = np.cov(flat)
    covariance = 0.9 * covariance + 0.1 * np.eye(len(covariance)) * np.trace(covariance) / len(covariance)
    root = np.linalg.inv(np.real(np.linalg.matrix_power(covariance, 1)))
    values, vectors = np.linalg.eigh(root)
    whitening = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    return np.einsum("nchw,cd->ndhw", maps - flat.mean(1)[:, None, None], whitening)


def test_the_distance_is_that_of_the_nearest_face_at_each_place() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=(8, 5, 3, 3)).astype(np.float16).astype(np.float64) + 1
    faces = rng.normal(size=(4, 5, 3, 3)) + 1
    fitted = fit_known_faces({"layer": torch.from_numpy(known).float()}, FAMILIES)
    assert fitted is not None
    of_others = [np.flatnonzero((family != FAMILIES).numpy()) for family in FAMILIES]
    total, left_out = np.zeros(4), np.zeros(4)
    for view in (lambda maps: maps, lambda maps: whitened(maps, known)):
        own = by_hand(view(known), view(known), of_others)
        medians = np.array([torch.tensor(own)[family == FAMILIES].median() for family in range(4)])
        total += by_hand(view(known), view(faces)) / medians.mean() / 2
        left_out += medians / medians.mean() / 2
    distances = fitted.distance({"layer": torch.from_numpy(faces).float()}).numpy()
    assert distances == pytest.approx(total / left_out.max(), rel=2e-3)
    assert fitted.distance({"layer": torch.from_numpy(known).float()}).numpy() == pytest.approx(np.zeros(8), abs=1e-5)


def test_two_families_do_not_say_how_far_families_lie_apart() -> None:
    assert fit_known_faces({"layer": torch.randn(4, 3, 2, 2)}, torch.tensor([0, 0, 1, 1])) is None


@pytest.mark.parametrize("backbone", ["test_efficientnet.r160_in1k", "resnet10t", "tf_efficientnet_lite0"])
def test_the_layers_keep_a_place_for_16_px(backbone: str) -> None:
    detector = Detector(backbone, size=64, hidden=8, drop_path=0).eval()
    names = layers_of(detector.backbone, torch.zeros(1, 3, 64, 64))
    assert len(names) == 2
    maps = Bundle(detector, None, ModelCard()).maps_of(torch.zeros(3, 3, 64, 64, dtype=torch.uint8))
    assert list(maps) == names
    assert all(len(kept) == 3 and 4 <= kept.shape[2] <= 8 for kept in maps.values())


def test_a_network_without_places_has_no_layers() -> None:
    assert layers_of(nn.Sequential(nn.Flatten(), nn.Linear(48, 4)), torch.zeros(1, 3, 4, 4)) == []


@pytest.mark.parametrize("input", ["face", "mri"])
def test_a_bundle_keeps_the_known_faces(input: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector = Detector("test_efficientnet.r160_in1k", size=64, hidden=8)
    bundle = Bundle(detector, Generator(size=64, width=8) if input == "mri" else None, ModelCard(input=input))
    training = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8)
    known = fit_known_faces(bundle.maps_of(training), FAMILIES)
    save_bundle(tmp_path / "m", detector, input, bundle.generator, faces=to_dict(FacesConfig()),
                thresholds={"frame": 0.5, "fraction": 0.5}, known=known, data={"about": "noise"})  # fmt: skip
    loaded = load_bundle(tmp_path / "m")
    assert loaded.card.data.about == "noise"
    faces = torch.cat([training[:2], torch.full((1, 3, 64, 64), 255, dtype=torch.uint8)])
    logits, distances = loaded.weigh(faces)
    assert torch.allclose(logits, loaded.score(faces)[:, None], atol=1e-5)
    assert distances is not None
    assert distances[:2] == pytest.approx(0, abs=1e-3)
    assert distances[2] > 0.1
    _, nobody = loaded.weigh(faces[:0])
    assert nobody is not None
    assert len(nobody) == 0


def damaged(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Put another known_faces.safetensors into a bundle, as its model.json lists it."""
    import json

    save_file(tensors, folder / KNOWN_FILE)
    meta = json.loads((folder / "model.json").read_text())
    meta["files"][KNOWN_FILE] = {"sha256": sha256_file(folder / KNOWN_FILE)}
    write_json(folder / "model.json", meta)


def test_known_faces_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    detector = Detector("test_efficientnet.r160_in1k", size=64, hidden=8)
    folder = save_bundle(tmp_path / "m", detector, faces=to_dict(FacesConfig()),
                         thresholds={"frame": 0.5, "fraction": 0.5})  # fmt: skip
    known = fit_known_faces({"blocks.0": torch.randn(8, 3, 2, 2)}, FAMILIES)
    assert isinstance(known, KnownFaces)
    good = known.tensors()
    other = {name.replace("blocks.0", "blocks.99"): tensor for name, tensor in good.items()}
    for wrong in (
        other,
        good | {"blocks.0/mean": torch.zeros(7)},
        good | {"unit": torch.tensor(0.0)},
        good | {"blocks.0/maps": torch.zeros(8, 3, 2).half()},
        {name: tensor for name, tensor in good.items() if name != "blocks.0/scale"},
        {"unit": torch.tensor(1.0)},
    ):
        damaged(folder, wrong)
        with pytest.raises(ModelError, match="known faces of the model cannot be used"):
            load_bundle(folder)

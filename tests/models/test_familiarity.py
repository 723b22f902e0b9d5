"""Distances from known faces against SciPy's Mahalanobis distance and scikit-learn's covariance; kept in a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from mrigan.config import FacesConfig, to_dict
from mrigan.errors import ModelError
from mrigan.models import Detector, load_bundle, save_bundle
from mrigan.models.familiarity import Familiarity, fit_familiarity
from mrigan.weights import SafetensorsFile


def test_the_distance_is_mahalanobis() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) + 3
    fitted = fit_familiarity(torch.from_numpy(known))
    oracle = LedoitWolf().fit(known)
    x = rng.normal(size=(20, 6)) * 5
    expected = [mahalanobis(row, oracle.location_, oracle.precision_) / np.sqrt(6) for row in x]
    assert fitted.distance(torch.from_numpy(x)).numpy() == pytest.approx(expected, rel=1e-4)
    assert float(fitted.distance(torch.from_numpy(known)).square().mean().sqrt()) == pytest.approx(1, abs=0.1)


def test_a_direction_without_spread_is_no_infinity() -> None:
    known = torch.cat([torch.randn(50, 3), torch.zeros(50, 2)], 1)
    assert torch.isfinite(fit_familiarity(known).distance(torch.ones(4, 5))).all()


def test_a_bundle_keeps_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector = Detector("test_efficientnet.r160_in1k", size=64, hidden=8)
    known = fit_familiarity(torch.randn(40, 8))
    limits = {"limits": {"min_faces": 3}}
    save_bundle(tmp_path / "m", detector, faces=to_dict(FacesConfig()), thresholds={"frame": 0.5, "fraction": 0.5},
                familiarity=known, doubt=limits)  # fmt: skip
    loaded = load_bundle(tmp_path / "m")
    assert loaded.card.doubt.limits.min_faces == 3
    assert loaded.familiarity is not None
    assert torch.equal(loaded.familiarity.whitening, known.whitening)
    faces = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8)
    logits, hidden = loaded.examine(faces, batch_size=2)
    assert torch.allclose(logits, loaded.score(faces), atol=1e-6)
    assert loaded.familiarity.distance(hidden).shape == (5,)
    with (
        SafetensorsFile(tmp_path / "m" / "familiarity.safetensors") as file,
        pytest.raises(ModelError, match="the network has"),
    ):
        Familiarity.from_file(file, 9)

"""Calibrators on scores whose true probability is known, against scikit-learn and torch."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression

from mrigan.config import from_dict
from mrigan.config.model_card import CALIBRATIONS, Calibration, given
from mrigan.errors import ConfigError, InputError
from mrigan.evaluation.calibration import at_prior, calibrate, choose_calibrator, fit_calibrator, sigmoid


def overconfident(n: int = 4000, seed: int = 0, fakes: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, logits three times too large and shifted by one, and the true probability at equal odds."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < fakes
    true = rng.normal(np.where(labels, 1.0, -1.0), np.sqrt(2))  # the log-odds of N(1, 2) against N(-1, 2) is x itself
    return labels, 3 * true + 1, sigmoid(true)


@pytest.mark.parametrize("fakes", [0.5, 0.85])
@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_the_truth_is_found_at_any_mix_of_classes(kind: str, fakes: float) -> None:
    labels, logits, truth = overconfident(fakes=fakes)
    found = calibrate(fit_calibrator(kind, labels, logits), logits)
    assert np.abs(found - truth).mean() < (0.01 if kind == "platt" else 0.04)
    assert np.abs(sigmoid(logits) - truth).mean() > 0.1


def test_temperature_is_what_gradient_descent_finds() -> None:
    labels, logits, _ = overconfident(500)
    x, y = torch.tensor(logits), torch.tensor(labels, dtype=torch.float64)
    weights = torch.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x / log_t.exp(), y, weight=weights)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert fit_calibrator("temperature", labels, logits).temperature == pytest.approx(
        float(log_t.detach().exp()), rel=1e-3
    )


def test_isotonic_is_that_of_scikit_learn() -> None:
    labels, logits, _ = overconfident(600)
    weights = np.where(labels, 0.5 / labels.mean(), 0.5 / (~labels).mean())
    oracle = IsotonicRegression(y_min=1e-6, y_max=1 - 1e-6, out_of_bounds="clip").fit(logits, labels, weights)
    grid = np.linspace(-14, 14, 99)
    kept = from_dict(Calibration, json.loads(json.dumps(given(fit_calibrator("isotonic", labels, logits)))))
    assert calibrate(kept, grid) == pytest.approx(oracle.predict(grid), abs=1e-9)


@pytest.mark.parametrize("kind", CALIBRATIONS)
def test_order_is_kept_and_nothing_is_certain(kind: str) -> None:
    labels, logits, _ = overconfident(300, seed=2)
    probs = calibrate(fit_calibrator(kind, labels, logits), np.linspace(-1e6, 1e6, 1001))
    assert (np.diff(probs) >= 0).all()
    assert probs.min() > 0
    assert probs.max() < 1


def test_scores_that_part_the_classes_have_a_finite_slope() -> None:
    labels, logits = np.repeat([0, 1], 10), np.repeat([-4.0, 4.0], 10)
    platt = fit_calibrator("platt", labels, logits)
    assert 0.85 < calibrate(platt, [4.0])[0] < 0.97


def test_the_best_kind_is_chosen_on_videos_it_was_not_fitted_to() -> None:
    labels, logits, _ = overconfident(400)
    chosen, losses = choose_calibrator(labels, logits, np.arange(400) // 2)
    assert chosen.kind == "platt"  # scale and shift are all that is wrong
    assert losses["platt"] < losses["none"]
    assert set(losses) == {"none", *CALIBRATIONS}
    few, small = choose_calibrator(labels[:60], logits[:60], np.arange(60))
    assert "isotonic" not in small
    assert few.videos == 60


def test_another_prior_is_bayes() -> None:
    assert at_prior([0.5, 0.9], 0.5) == pytest.approx([0.5, 0.9])
    assert at_prior([0.9], 0.01)[0] == pytest.approx(0.9 * 0.01 / (0.9 * 0.01 + 0.1 * 0.99))
    with pytest.raises(InputError, match="prior"):
        at_prior([0.5], 0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="1 fakes and 3 reals are too few"):
        fit_calibrator("platt", [1, 0, 0, 0], [1.0, 0, 0, 0])
    with pytest.raises(InputError, match="finite"):
        fit_calibrator("platt", [1, 0], [np.nan, 0])
    with pytest.raises(InputError, match="use one of"):
        fit_calibrator("beta", [1, 0], [0, 0])
    with pytest.raises(InputError, match="two families"):
        choose_calibrator([1, 0], [0.0, 0.0], [1, 1])
    for broken in ({"kind": "platt"}, {"kind": "temperature", "temperature": "x"}, {"kind": "magic"}):
        with pytest.raises(ConfigError):
            from_dict(Calibration, broken)

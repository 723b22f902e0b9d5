"""What a model knows of its own limits: fitted on validation, applied to a video."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit

from mrigan.config import from_dict
from mrigan.config.model_card import FittedCard, Limits
from mrigan.evaluation import check_scores
from mrigan.evaluation.aggregation import STRATEGIES, aggregate
from mrigan.evaluation.calibration import calibrate
from mrigan.evaluation.fit_limits import fit_limits, mean_logits
from mrigan.evaluation.limits import reason_not_judged
from tests.evaluation.tables import table, video


def validation(videos: int, seed: int = 0) -> list[tuple]:
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(videos):
        x = rng.normal((1 if i % 2 else -1) * 1.5, 1) * 4 + rng.normal(0, 0.5, 8)  # four times too sure
        rows += video(f"{i}.mp4", i % 2, expit(x).clip(1e-9, 1 - 1e-9).tolist(), split="val")
    return rows


def test_everything_is_fitted_and_is_json() -> None:
    rng = np.random.default_rng(0)
    measures = {
        "side": rng.uniform(50, 400, 1000),
        "sharpness": rng.uniform(5, 90, 1000),
        "distance": rng.gamma(9, 1, 1000),
    }
    scores = check_scores(table(validation(200)))
    fitted = from_dict(FittedCard, json.loads(json.dumps(fit_limits(scores, measures).to_json())))
    assert set(fitted.rules) == set(STRATEGIES) - {"fraction"}
    assert fitted.limits.min_side == pytest.approx(np.quantile(measures["side"], 0.01))
    assert fitted.limits.max_distance == pytest.approx(np.quantile(measures["distance"], 0.99))
    # The calibrated probability is held out better than the scores as they are, and says as much as is true.
    losses = fitted.calibration_log_loss
    assert fitted.calibration is not None
    assert losses[fitted.calibration.kind] < losses["none"]
    fresh = check_scores(table(validation(2000, seed=1)))
    codes = np.repeat(np.arange(2000), 8)
    names = {name: i for i, name in enumerate(dict.fromkeys(fresh["name"].to_pylist()))}
    codes = np.array([names[name] for name in fresh["name"].to_pylist()])
    labels = np.array(fresh["label"].to_pylist())[np.unique(codes, return_index=True)[1]]
    probs = calibrate(fitted.calibration, mean_logits(fresh["logit"].to_numpy(), codes, 2000))
    for low in (0.1, 0.4, 0.7):
        there = (probs > low) & (probs <= low + 0.2)
        assert abs(labels[there].mean() - probs[there].mean()) < 0.12
    rule = fitted.rules["mean"]
    said = aggregate("mean", fresh["prob"].to_numpy(), codes, 2000) >= rule.threshold
    assert (said == labels).mean() > 0.9


def test_too_little_is_said_and_the_rest_is_fitted() -> None:
    fitted = fit_limits(check_scores(table(validation(6))), {})
    assert fitted.calibration is None
    assert "too few" in fitted.uncalibrated
    assert fitted.limits == Limits(min_faces=3, share=0.5)
    assert fitted.rules == {}  # a threshold from three reals is luck
    assert fit_limits(check_scores(table(video("a", 1, [0.9], split="val"))), {}).rules == {}


def test_most_faces_beyond_a_limit_are_a_reason() -> None:
    limits = Limits(share=0.5, min_side=40.0, max_distance=3.0)
    assert reason_not_judged(limits, {"side": np.array([10, 10, 90.0])}) == "too_small"
    assert reason_not_judged(limits, {"side": np.array([10, 90.0])}) is None
    assert reason_not_judged(limits, {"side": np.array([90.0]), "distance": np.array([9.0])}) == "out_of_range"
    assert reason_not_judged(Limits(), {"side": np.array([1.0])}) is None
    assert reason_not_judged(limits, {"side": np.zeros(0)}) is None

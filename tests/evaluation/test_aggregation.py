"""Every strategy against itself written out for one video after the other."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mrigan.errors import ConfigError, InputError
from mrigan.evaluation.aggregation import STRATEGIES, aggregate, best_threshold, fit_learned


def drawn(seed: int, videos: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, videos)
    faces = rng.integers(1, 40, videos)
    codes = rng.permutation(np.repeat(np.arange(videos), faces))
    return labels, rng.beta(1 + 3 * labels[codes], 4 - 3 * labels[codes]), codes


def confident(p: np.ndarray) -> float:
    fakes, reals = p[p > 0.8], p[p < 0.2]
    if len(fakes) > 0.4 * len(p) and len(fakes) > 11:
        return float(fakes.mean())
    return float(reals.mean() if len(reals) > 0.9 * len(p) else p.mean())


ONE_BY_ONE = {
    "fraction": lambda p: (p > 0.7).mean(),
    "mean": np.mean,
    "mean_logit": lambda p: 1 / (1 + np.exp(-np.log(p / (1 - p)).clip(-15, 15).mean())),
    "confident_mean": confident,
    "top": lambda p: np.sort(p)[-int(np.ceil(0.2 * len(p))) :].mean(),
}


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_a_strategy_is_what_it_is_for_one_video(name: str) -> None:
    _, probs, codes = drawn(0)
    found = aggregate(name, probs, codes, 60, {"frame": 0.7})
    assert found == pytest.approx([ONE_BY_ONE[name](probs[codes == k]) for k in range(60)], abs=1e-9)


def test_learned_is_the_regression_on_numpys_quantiles() -> None:
    labels, probs, codes = drawn(1)
    fitted = json.loads(json.dumps(fit_learned(labels, probs, codes)))
    rows = []
    for k in range(60):
        x = np.log(probs[codes == k] / (1 - probs[codes == k])).clip(-15, 15)
        rows.append([x.mean(), x.std(), *np.quantile(x, [0.1, 0.5, 0.9]), x.max(), np.log(len(x))])
    z = np.array(rows) @ np.array(list(fitted["weights"].values())) + fitted["intercept"]
    assert aggregate("learned", probs, codes, 60, fitted) == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-9)
    unseen, p, c = drawn(2)
    scores = aggregate("learned", p, c, 60, fitted)
    assert scores[unseen == 1].mean() > 0.8
    assert scores[unseen == 0].mean() < 0.2


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_video_without_a_face_has_no_score(name: str) -> None:
    labels, probs, codes = drawn(1)
    settings = {"frame": 0.5, **fit_learned(labels, probs, codes)}
    scores = aggregate(name, [0.0, 1.0, 0.4], [0, 0, 2], 4, settings)
    assert np.isnan(scores).tolist() == [False, True, False, True]
    assert ((scores >= 0) & (scores <= 1))[[0, 2]].all()


def test_the_best_threshold_is_the_best() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200).astype(bool)
    scores = np.round(rng.beta(2 + labels, 3 - labels), 2)

    def balanced(t: float) -> float:
        return ((scores[labels] >= t).mean() + (scores[~labels] < t).mean()) / 2

    chosen = best_threshold(labels, scores)
    assert balanced(chosen) == pytest.approx(max(balanced(t) for t in np.linspace(0, 1.01, 2000)))
    assert best_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)
    assert best_threshold([1, 1], [0.1, 0.2]) == 0.5


def test_wrong_names_and_too_little_data_are_refused() -> None:
    with pytest.raises(ConfigError, match="use one of: fraction, mean"):
        aggregate("median", [0.5], [0], 1)
    with pytest.raises(ConfigError, match="'frame'"):
        aggregate("fraction", [0.5], [0], 1)
    with pytest.raises(InputError, match="20 of each"):
        fit_learned([0, 1], [0.2, 0.8], [0, 1])

"""Weighted curves, bootstrap and DeLong against scikit-learn, torchmetrics and the definitions written out."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import binomtest
from sklearn import metrics
from torchmetrics.functional.classification import binary_calibration_error

from mrigan.errors import InputError
from mrigan.evaluation import check_scores
from mrigan.evaluation.comparison import compare
from mrigan.evaluation.curves import Ranking, expected_calibration_error
from mrigan.evaluation.intervals import bootstrap, clusters_of, delong, kind_of_clusters
from mrigan.evaluation.rates import exact_interval, words
from mrigan.evaluation.results import measure
from tests.evaluation.tables import table, video


def scored(seed: int, n: int = 200, decimals: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return labels, np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1), decimals)  # with ties


@pytest.mark.parametrize("seed", range(5))
def test_weighted_curves_are_those_of_repeated_rows(seed: int) -> None:
    labels, probs = scored(seed)
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(labels))).astype(float)
    curve = Ranking(labels, probs).curve(weights)
    for row, times in enumerate(weights.astype(int)):
        y, p = np.repeat(labels, times), np.repeat(probs, times)
        fpr, tpr, _ = metrics.roc_curve(y, p, drop_intermediate=False)
        crossing = brentq(partial(lambda x, a, b: 1 - x - np.interp(x, a, b), a=fpr, b=tpr), 0, 1)
        assert curve.auc()[row] == pytest.approx(metrics.roc_auc_score(y, p), abs=1e-12)
        assert curve.ap()[row] == pytest.approx(metrics.average_precision_score(y, p), abs=1e-12)
        assert curve.eer()[row] == pytest.approx(crossing, abs=1e-9)
        assert curve.tpr_at_fpr(0.1)[row] == pytest.approx(tpr[fpr <= 0.1].max(), abs=1e-12)


def test_ece_is_that_of_torchmetrics() -> None:
    labels, probs = scored(3, 500, decimals=8)
    expected = binary_calibration_error(torch.tensor(probs), torch.tensor(labels), n_bins=15, norm="l1")
    assert expected_calibration_error(labels, probs) == pytest.approx(float(expected), abs=1e-6)


def test_the_bootstrap_is_that_of_rows_really_drawn() -> None:
    labels, probs = scored(1, 120)
    clusters = np.repeat(np.arange(30), 4)
    found = bootstrap(labels, probs, probs > 0.5, clusters, draws=400, seed=7)
    rng = np.random.default_rng(7)
    aucs, losses = [], []
    for times in rng.multinomial(30, np.full(30, 1 / 30), size=400):
        rows = np.concatenate([np.flatnonzero(clusters == c) for c in range(30) for _ in range(times[c])])
        aucs.append(metrics.roc_auc_score(labels[rows], probs[rows]))
        losses.append(metrics.brier_score_loss(labels[rows], probs[rows]))
    assert found["auc"] == pytest.approx(np.quantile(aucs, [0.025, 0.975]), abs=1e-12)
    assert found["brier"] == pytest.approx(np.quantile(losses, [0.025, 0.975]), abs=1e-12)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Clusters of identical faces: an interval that drew faces one by one would hold it far more rarely."""
    truth, held, naive = 0.7602499389, 0, 0  # AUC of N(1, 1) against N(0, 1)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.tile([0, 1], 40), 10)
        logits = np.repeat(rng.normal(np.tile([0, 1], 40), 1), 10)
        probs = 1 / (1 + np.exp(-logits))
        by_video = bootstrap(labels, probs, probs > 0.5, np.repeat(np.arange(80), 10), draws=200)["auc"]
        by_face = bootstrap(labels, probs, probs > 0.5, np.arange(800), draws=200)["auc"]
        held += by_video[0] <= truth <= by_video[1]
        naive += by_face[0] <= truth <= by_face[1]
    assert held >= 52  # of 60; 57 expected
    assert naive <= 40


def test_too_little_data_gives_no_interval() -> None:
    assert bootstrap([1, 0], [0.9, 0.1], [True, False], [0, 0]) == {}
    one_class = bootstrap([1, 1, 1], [0.9, 0.1, 0.5], [True, False, True], [0, 1, 2])
    assert "auc" not in one_class
    assert "balanced_accuracy" not in one_class


@pytest.mark.parametrize(("right", "of"), [(0, 4), (4, 4), (3, 17), (60, 60), (1, 1)])
def test_rates_have_the_exact_interval(right: int, of: int) -> None:
    expected = binomtest(right, of).proportion_ci(0.95, method="exact")
    assert exact_interval(right / of, of) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_rate_in_words() -> None:
    assert words(0, 4, "reals called fake") == "0 of 4 reals called fake, 95 %: 0 to 60 %"
    four_of_each = words(16, 16, "fakes found", families=4)
    assert four_of_each == "16 of 16 fakes found, 95 %: 40 to 100 % (4 families)"


def rated(families: int, fakes_each: int) -> pa.Table:
    """Originals and their fakes, told apart without a mistake."""
    rows = []
    for i in range(families):
        rows += video(f"{i}.mp4", 0, [0.1, 0.2])
        for k in range(fakes_each):
            rows += video(f"{i}_{k}.mp4", 1, [0.8, 0.9])
    scores = table(rows)
    named = [name.split("_")[0].removesuffix(".mp4") for name in scores["name"].to_pylist()]
    return check_scores(scores.append_column("family", [named]))


def test_few_families_have_no_interval_but_their_rates() -> None:
    [few], [enough] = (measure(rated(n, 4), {"m": {"frame": 0.5, "fraction": 0.5}}) for n in (9, 10))
    assert few.intervals["over"] == "family"
    assert "9 families" in few.intervals["missing"]
    exact = binomtest(9, 9).proportion_ci(0.95, method="exact")
    for level in ("video", "frame"):
        assert set(few.intervals[level]) == {"tpr", "fnr", "fpr", "tnr", "accuracy"}
        for rate in ("tpr", "tnr"):  # 36 fakes of nine families are nine trials
            assert few.intervals[level][rate] == pytest.approx([exact.low, 1])
    assert enough.intervals["missing"] == ""
    low, high = enough.intervals["video"]["auc"]
    assert high == 1
    assert 0.6 < low < 0.75  # ten families without a mistake: never "1 to 1"


def test_clusters_are_people_then_families_and_never_videos() -> None:
    rows = table([row for i in range(44) for row in video(f"{i}.mp4", i % 2, [0.1, 0.9])])

    def kind(**columns: list[str]) -> tuple[str, int]:
        named = rows
        for name, values in columns.items():
            named = named.append_column(name, [values])
        named = check_scores(named)
        chosen = kind_of_clusters(named)
        return chosen, len(set(clusters_of(named, chosen)))

    families, people = [f"f{i // 4}" for i in range(88)], [f"p{i // 4 % 11}" for i in range(88)]
    assert kind() == ("unknown", 44)
    assert kind(family=families) == ("family", 22)
    assert kind(family=families, group=people) == ("group", 11)
    assert kind(family=families, group=["part 0"] * 88) == ("family", 22)  # one group tells nothing
    assert kind(family=["f0"] * 44 + ["f1"] * 44) == ("family", 2)
    assert kind(family=[*families[:-2], "", ""]) == ("unknown", 44)  # not known of every video


def brute_force(labels: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Difference and its variance by the definition: every fake against every real."""
    fakes, reals = labels == 1, labels == 0
    parts = []
    for s in (a, b):
        wins = (s[fakes][:, None] > s[reals]) + 0.5 * (s[fakes][:, None] == s[reals])
        parts.append((wins.mean(1), wins.mean(0)))
    m, n = fakes.sum(), reals.sum()
    v10 = np.cov([parts[0][0], parts[1][0]])
    v01 = np.cov([parts[0][1], parts[1][1]])
    variance = (v10[0, 0] + v10[1, 1] - 2 * v10[0, 1]) / m + (v01[0, 0] + v01[1, 1] - 2 * v01[0, 1]) / n
    return float(parts[0][0].mean() - parts[1][0].mean()), float(variance)


@pytest.mark.parametrize("seed", range(3))
def test_delong_is_the_definition(seed: int) -> None:
    labels, a = scored(seed, 60)
    b = np.clip(a + np.random.default_rng(seed).normal(0, 0.2, 60), 0, 1)
    result = delong(labels, a, b)
    difference, variance = brute_force(labels, a, b)
    assert result.difference == pytest.approx(difference, abs=1e-12)
    assert result.auc[0] == pytest.approx(metrics.roc_auc_score(labels, a), abs=1e-12)
    half = (result.interval[1] - result.interval[0]) / 2
    assert half == pytest.approx(1.959963985 * np.sqrt(variance), rel=1e-6)
    assert delong(labels, a, a).p == 1.0


def test_delong_finds_no_difference_as_often_as_it_says() -> None:
    rejected = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = np.tile([0, 1], 60)
        shared = rng.normal(labels, 1)
        rejected += delong(labels, shared + rng.normal(0, 1, 120), shared + rng.normal(0, 1, 120)).p < 0.05
    assert 2 <= rejected <= 20  # 10 expected


def test_delong_of_clusters_of_one_is_delong_nearly() -> None:
    labels, a = scored(1, 400)
    b = np.clip(a + np.random.default_rng(1).normal(0, 0.2, 400), 0, 1)
    plain, single = delong(labels, a, b), delong(labels, a, b, np.arange(400))
    assert single.auc == plain.auc
    assert single.interval == pytest.approx(plain.interval, rel=1e-3)


def test_delong_over_families_finds_no_difference_as_often_as_it_says() -> None:
    """Eight copies of each fake: taken for independent, they would be told apart far too often."""
    rejected, naive = 0, 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = np.concatenate([np.zeros(40), np.ones(40)])
        families = np.tile(np.arange(40), 2)
        a, b = (rng.normal(labels, 1) for _ in range(2))
        copies = np.concatenate([np.arange(40), np.repeat(np.arange(40, 80), 8)])
        rejected += delong(labels[copies], a[copies], b[copies], families[copies]).p < 0.05
        naive += delong(labels[copies], a[copies], b[copies]).p < 0.05
    assert 2 <= rejected <= 21  # 10 expected
    assert naive > 25


def test_delong_needs_two_of_each() -> None:
    with pytest.raises(InputError, match="1 fakes and 3 reals"):
        delong([1, 0, 0, 0], [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4])


def test_delong_needs_as_many_families_as_an_interval() -> None:
    """Fakes of nine families, however many videos there are: an interval would be too narrow."""
    labels, a = scored(1, 400)
    families = np.where(labels == 1, np.arange(400) % 9, 100 + np.arange(400) % 10)
    with pytest.raises(InputError, match="fakes of 9 families and reals of 10 are too few"):
        delong(labels, a, a[::-1], families)
    families[np.flatnonzero(labels == 1)[0]] = 50
    assert delong(labels, a, a[::-1], families).p <= 1


def test_two_models_are_compared_by_their_families() -> None:
    """A family is told by its data set and its name: two data sets that use one name have two families."""
    rng = np.random.default_rng(0)
    names, labels = [f"{i:02d}" for i in range(40)], [i % 2 for i in range(40)]
    sets, families = ["a"] * 20 + ["b"] * 20, [f"family {i % 20 // 4}" for i in range(40)]
    probs = [np.asarray(labels) * 0.2 + rng.random(40) * 0.8 for _ in range(2)]
    columns = {"dataset": sets, "method": ["m"] * 40, "compression": ["-"] * 40, "name": names, "label": labels}
    face, mri = (pa.table({**columns, "prob": p, "family": families}) for p in probs)
    results = [SimpleNamespace(model=name, split="test", videos=each) for name, each in (("face", face), ("mri", mri))]
    (row,) = compare(results)
    expected = delong(labels, *probs, [i // 4 for i in range(40)])
    assert (row["p"], row["interval"]) == (expected.p, expected.interval)

"""Frame figures against scikit-learn, torchmetrics and constructions of our own."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn import metrics as sk
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from mrigan.errors import InputError
from mrigan.evaluation import frame_metrics, numbers
from mrigan.evaluation.metrics import RANKINGS

CASES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 32)), min_size=2, max_size=60)  # probs of k / 32 are exact


def _case(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    labels, steps = np.array(pairs).T
    assume(0 < labels.sum() < len(labels))
    return labels, steps / 32


def _random(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return labels, np.round(rng.beta(1 + labels, 2 - labels), 2)  # rounded: with ties


def _pairs_auc(labels: np.ndarray, probs: np.ndarray) -> float:
    fakes, reals = probs[labels == 1], probs[labels == 0]
    return float(np.mean([(f > r) + 0.5 * (f == r) for f, r in product(fakes, reals)]))


def _eer_by_root(labels: np.ndarray, probs: np.ndarray) -> float:
    """FNR as a piecewise linear function of FPR, built threshold by threshold; its fixed point found by bisection."""
    points = {(1.0, 0.0), (0.0, 1.0)}
    for t in {*probs.tolist(), 2.0}:
        points.add((float((probs[labels == 0] >= t).mean()), float((probs[labels == 1] < t).mean())))
    lowest: dict[float, list[float]] = {}
    for fpr, fnr in points:
        lowest.setdefault(fpr, []).append(fnr)
    xs = sorted(lowest)
    along = [(x, y) for x in xs for y in sorted(lowest[x], reverse=True)]  # down the vertical pieces, then right
    xs, ys = zip(*along, strict=True)
    s = np.arange(len(xs))  # position along the curve

    def gap(t: float) -> float:
        return float(np.interp(t, s, xs) - np.interp(t, s, ys))

    return float(np.interp(brentq(gap, 0, len(xs) - 1, xtol=1e-14), s, xs))


def test_every_figure_agrees_with_scikit_learn_and_torchmetrics():
    labels, probs = _random()
    got = frame_metrics(labels, probs, threshold=0.6)
    called = probs > 0.6
    tn, fp, fn, tp = sk.confusion_matrix(labels, called).ravel()
    assert (got["tn"], got["fp"], got["fn"], got["tp"]) == (tn, fp, fn, tp)
    assert got["auc"] == pytest.approx(binary_auroc(torch.tensor(probs), torch.tensor(labels)).item(), abs=1e-6)
    assert got["ap"] == pytest.approx(
        binary_average_precision(torch.tensor(probs), torch.tensor(labels)).item(), abs=1e-6
    )
    assert got["auc"] == pytest.approx(_pairs_auc(labels, probs), abs=1e-12)
    assert got["eer"] == pytest.approx(_eer_by_root(labels, probs), abs=1e-9)
    assert got["log_loss"] == pytest.approx(-np.mean(np.log(np.where(labels == 1, probs, 1 - probs))), abs=1e-12)
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(labels, called))
    assert got["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, called))
    assert got["f1"] == pytest.approx(sk.f1_score(labels, called))
    assert got["precision"] == pytest.approx(sk.precision_score(labels, called))
    assert got["tpr"] == pytest.approx(sk.recall_score(labels, called))
    assert got["tnr"] == pytest.approx(sk.recall_score(labels, called, pos_label=0))
    assert got["tpr"] + got["fnr"] == pytest.approx(1)
    assert got["tnr"] + got["fpr"] == pytest.approx(1)
    assert (got["n"], got["fake"], got["threshold"], got["undefined"]) == (400, labels.sum(), 0.6, {})


def test_eer_of_two_normal_distributions_is_the_known_one():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 50_000)
    logits = rng.normal(size=100_000) + 1.5 * labels
    assert frame_metrics(labels, 1 / (1 + np.exp(-logits)))["eer"] == pytest.approx(norm.cdf(-0.75), abs=0.004)


@pytest.mark.parametrize(("labels", "probs", "auc", "eer"), [
    ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 1.0, 0.0),
    ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], 0.0, 1.0),
    ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], 0.5, 0.5),
])  # fmt: skip
def test_perfect_reversed_and_constant_scores(labels, probs, auc, eer):
    got = frame_metrics(labels, probs)
    assert (got["auc"], got["eer"]) == (pytest.approx(auc), pytest.approx(eer))


@settings(max_examples=60, deadline=None)
@given(CASES, st.randoms(use_true_random=False))
def test_the_order_of_faces_does_not_matter(pairs, random):
    labels, probs = _case(pairs)
    order = list(range(len(labels)))
    random.shuffle(order)
    a, b = frame_metrics(labels, probs), frame_metrics(labels[order], probs[order])
    assert {k: pytest.approx(v) for k, v in numbers(a).items()} == numbers(b)


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_calling_fakes_reals_mirrors_the_figures(pairs):
    labels, probs = _case(pairs)
    a, flipped, reversed_ = (frame_metrics(*c) for c in ((labels, probs), (1 - labels, 1 - probs), (1 - labels, probs)))
    assert flipped["auc"] == pytest.approx(a["auc"])
    assert reversed_["auc"] == pytest.approx(1 - a["auc"])
    assert flipped["eer"] == pytest.approx(a["eer"])
    assert flipped["log_loss"] == pytest.approx(a["log_loss"])


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_ranking_figures_do_not_change_with_a_rising_function(pairs):
    labels, probs = _case(pairs)
    a, b = frame_metrics(labels, probs), frame_metrics(labels, probs**2 / 2)
    assert [a[k] for k in ("auc", "eer", "ap")] == [pytest.approx(b[k]) for k in ("auc", "eer", "ap")]


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_eer_is_where_the_two_error_rates_meet(pairs):
    labels, probs = _case(pairs)
    assert frame_metrics(labels, probs)["eer"] == pytest.approx(_eer_by_root(labels, probs), abs=1e-9)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_gives_null_and_a_reason(label):
    got = frame_metrics([label] * 3, [0.2, 0.4, 0.9])
    for name in ("auc", "eer", "ap", "balanced_accuracy"):
        assert got[name] is None
        assert got["undefined"][name].startswith("only fakes" if label else "only reals")
    assert got["log_loss"] > 0
    assert got["accuracy"] == pytest.approx(1 / 3 if label else 2 / 3)
    assert (got["fpr"] is None) == bool(label)
    assert (got["tpr"] is None) == (not label)
    assert "auc" not in numbers(got)
    assert numbers(got, "val/")["val/n"] == 3.0


def test_nothing_scored_gives_null_everywhere():
    got = frame_metrics([], [])
    rates = ("tpr", "fpr", "tnr", "fnr", "accuracy", "balanced_accuracy", "f1", "precision")
    for name in (*RANKINGS, *rates):
        assert got[name] is None
        assert got["undefined"][name]


def test_nothing_called_fake_has_no_precision_but_an_f1_of_zero():
    got = frame_metrics([0, 1], [0.1, 0.2])
    assert got["precision"] is None
    assert got["f1"] == 0
    assert got["undefined"] == {"precision": "nothing was called fake"}


def test_a_face_at_the_threshold_is_not_above_it():
    assert frame_metrics([0, 1], [0.8, 0.8], threshold=0.8)["tp"] == 0


@pytest.mark.parametrize(("labels", "probs", "says"), [
    ([0, 1], [0.5], "one length"),
    ([0, 2], [0.5, 0.5], "labels are 0"),
    ([0, 1], [0.5, float("nan")], "probability 1 is nan"),
    ([0, 1], [0.5, 1.5], "probability 1 is 1.5"),
])  # fmt: skip
def test_wrong_input_is_refused(labels, probs, says):
    with pytest.raises(InputError, match=says):
        frame_metrics(labels, probs)

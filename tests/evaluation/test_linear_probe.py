"""The linear probe: no person in two folds, classes of equal weight; against scikit-learn's own cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict

from mrigan.errors import InputError
from mrigan.evaluation.linear_probe import fold_count, held_out_logits

FACES = 8  # of a video


def people(count: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, width), labels (N,) and people (N,): each person has one video, whose class is a coin toss."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2)
    persons = np.repeat(np.arange(count), FACES)
    looks = rng.normal(size=(count, width))[persons] + 0.1 * rng.normal(size=(count * FACES, width))
    return looks.astype(np.float32), labels[persons], persons


def test_a_probe_that_can_recognize_people_gains_nothing_by_it() -> None:
    features, labels, persons = people(60, 100)
    leaky = cross_val_predict(LogisticRegression(), features, labels, cv=KFold(5, shuffle=True, random_state=0),
                              method="decision_function")  # fmt: skip
    assert roc_auc_score(labels, leaky) > 0.99  # what a split by faces would report
    assert 0.3 < roc_auc_score(labels, held_out_logits(features, labels, persons, persons)) < 0.7


def test_what_the_features_show_is_found_in_new_people() -> None:
    features, labels, persons = people(60, 100)
    features[:, :10] += 1.5 * labels[:, None]
    logits = held_out_logits(features, labels, persons, persons)
    assert np.isfinite(logits).all()
    assert roc_auc_score(labels, logits) > 0.9


def test_a_larger_class_has_no_larger_weight() -> None:
    rng = np.random.default_rng(0)
    labels, videos = np.arange(400) % 10 != 0, np.arange(400)  # nine fakes a real
    features = rng.normal(size=(400, 3)).astype(np.float32)
    assert abs(held_out_logits(features, labels, videos, videos).mean()) < 0.3


def test_a_long_video_has_no_larger_weight() -> None:
    features, labels, persons = people(40, 5)
    features[:, 0] += 2 * labels
    long = np.flatnonzero(persons == 7)
    longer = np.concatenate([np.arange(len(labels)), *[long] * 20])
    again = held_out_logits(features[longer], labels[longer], persons[longer], persons[longer])
    once = held_out_logits(features, labels, persons, persons)
    assert again[: len(labels)] == pytest.approx(once, abs=1e-3)


def test_too_few_people_are_refused() -> None:
    features, labels, _ = people(6, 4)
    one = np.where(labels == 1, 0, np.arange(len(labels)))  # all fakes are of one person
    assert fold_count(labels, one) == 0
    with pytest.raises(InputError, match="share no person"):
        held_out_logits(features, labels, np.arange(len(labels)), one)
    assert fold_count(labels, np.arange(len(labels))) == 5

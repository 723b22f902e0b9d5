"""A linear probe: how well a logistic regression on frozen features tells fakes from reals of people that it never saw.

It measures what the encoder knows. A probe that is much better than the class head says that the head does not use what
the encoder sees. A probe no better than chance says that the encoder does not see the forgery.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrigan.errors import InputError
from mrigan.evaluation.calibration import balanced_log_loss, sigmoid

MAX_FOLDS = 5
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C, for standardized features
Parts = list[tuple[NDArray[np.int64], NDArray[np.int64]]]  # rows to fit to, rows held out


def fold_count(labels: ArrayLike, people: ArrayLike) -> int:
    """How many folds can be made: at most five; 0 if there cannot be two with fakes and reals each.

    Args:
        labels: (N,) 1 = fake. people: (N,) rows with the same number are in one fold.
    """
    y, codes = np.asarray(labels, bool), np.asarray(people)
    folds = min(MAX_FOLDS, *(len(np.unique(codes[rows])) for rows in (y, ~y)))
    return folds if folds > 1 else 0


def held_out_logits(
    features: NDArray[np.float32], labels: ArrayLike, videos: ArrayLike, people: ArrayLike
) -> NDArray[np.float64]:
    """(N,) logits of faces; each is from a regression that was fitted to other people.

    The regression is fitted to the mean features of videos, so that a long video counts as much as a short one, with
    equal weight for both classes. The strength of its L2 penalty is chosen within the people that it is fitted to.

    Args:
        features: (N, F). labels: (N,) 1 = fake. videos: (N,) number of each face's video.
        people: (N,) faces with the same number are in one fold; those of a video have the same.

    Raises:
        InputError: too few separable people for two folds with both classes.
    """
    from scipy.sparse import csr_array

    _, first, codes = np.unique(np.asarray(videos), return_index=True, return_inverse=True)
    y, groups = np.asarray(labels, bool)[first], np.asarray(people)[first]
    x = csr_array((1 / np.bincount(codes)[codes], (codes, np.arange(len(codes))))) @ features
    parts = _parts(y, groups)
    if not parts:
        raise InputError(
            "a linear probe needs two groups of fakes and two of reals that share no person",
            fix="give shards of more people",
        )
    logits = np.full(len(features), np.nan)
    for fitted, held_out in parts:
        model = _fit(x[fitted], y[fitted], _best_strength(x[fitted], y[fitted], groups[fitted]))
        faces = np.isin(codes, held_out)
        logits[faces] = model.decision_function(features[faces])
    return logits


def _parts(labels: NDArray[np.bool_], groups: NDArray[np.int64]) -> Parts:
    """Folds that share no group; empty if a class is missing in what one of them is fitted to."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = fold_count(labels, groups)
    if not folds:
        return []
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    parts = list(splitter.split(labels, labels, groups))
    return parts if all(0 < labels[fitted].sum() < len(fitted) for fitted, _ in parts) else []


def _best_strength(x: NDArray[np.float64], labels: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    """The strength with the lowest held-out log-loss; the weakest fit if there are too few people to compare."""
    parts = _parts(labels, groups)
    if not parts:
        return STRENGTHS[0]

    def loss(strength: float) -> float:
        logits = np.zeros(len(labels))
        for fitted, held_out in parts:
            logits[held_out] = _fit(x[fitted], labels[fitted], strength).decision_function(x[held_out])
        return balanced_log_loss(labels, sigmoid(logits))

    return min(STRENGTHS, key=loss)


def _fit(x: NDArray[np.float64], labels: NDArray[np.bool_], strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
    return make_pipeline(StandardScaler(), regression).fit(x, labels)

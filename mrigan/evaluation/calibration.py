"""Calibrate scores to probabilities: temperature, Platt and isotonic scaling, fitted on validation.

A calibration stands in model.json. It is fitted at equal odds: real and fake videos have equal
total weight, so its probability holds if half of the videos are fake. `at_prior` converts it to other odds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrigan.config.model_card import CALIBRATIONS, Calibration
from mrigan.errors import InputError

Fit = Callable[[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]], dict[str, Any]]
MIN_VIDEOS = 5  # of each class
MIN_ISOTONIC_VIDEOS = 50  # of each class
EDGE = 1e-6  # smallest probability; a step function fitted to few videos would give 0 and 1
MAX_LOGIT = 15.0  # larger logits mean no more certainty, and overflow


def fit_calibrator(kind: str, labels: ArrayLike, logits: ArrayLike) -> Calibration:
    """Fit one kind of scaling at equal odds.

    Args:
        kind: `temperature` (sigmoid(x / T); Guo et al. 2017), `platt` (sigmoid(a x + b)), or `isotonic` (an increasing
            function, linear between its points).
        labels: (N,) 1 = fake. logits: (N,) finite scores of validation videos (or faces).

    Raises:
        InputError: an unknown kind, too few videos of a class, or a score that is not finite.
    """
    if kind not in CALIBRATIONS:
        raise InputError(f"unknown calibration {kind!r}", fix=f"use one of: {', '.join(CALIBRATIONS)}")
    y, x = np.asarray(labels, bool), np.asarray(logits, np.float64)
    if not np.isfinite(x).all():
        raise InputError("a score is not a finite number")
    needed = MIN_ISOTONIC_VIDEOS if kind == "isotonic" else MIN_VIDEOS
    if min(y.sum(), (~y).sum()) < needed:
        what = f"{y.sum()} fakes and {(~y).sum()} reals are too few for {kind} scaling, which needs {needed} of each"
        raise InputError(what)
    x = x.clip(-MAX_LOGIT, MAX_LOGIT)
    weights = np.where(y, 0.5 / y.mean(), 0.5 / (~y).mean())
    fit: dict[str, Fit] = {"temperature": _temperature, "platt": _platt, "isotonic": _isotonic}
    return Calibration(kind, len(y), **fit[kind](y, x, weights))


def calibrate(calibration: Calibration, logits: ArrayLike) -> NDArray[np.float64]:
    """(N,) probabilities of fake, at equal odds, for (N,) logits."""
    x = np.asarray(logits, np.float64).clip(-MAX_LOGIT, MAX_LOGIT)
    values: Any = calibration  # what its kind needs is not None
    if calibration.kind == "temperature":
        return sigmoid(x / values.temperature)
    if calibration.kind == "platt":
        return sigmoid(values.slope * x + values.intercept)
    return np.interp(x, values.x, values.y)


def at_prior(probs: ArrayLike, prior: float) -> NDArray[np.float64]:
    """Convert probabilities at equal odds to those if a share `prior` of the videos is fake (Bayes' rule)."""
    if not 0 < prior < 1:
        raise InputError(f"the prior is {prior}", fix="give a share between 0 and 1")
    p = np.asarray(probs, np.float64)
    fake, real = p * prior, (1 - p) * (1 - prior)
    return fake / (fake + real)


def choose_calibrator(
    labels: ArrayLike, logits: ArrayLike, groups: ArrayLike, folds: int = 5, seed: int = 0
) -> tuple[Calibration, dict[str, float]]:
    """Choose the kind of calibration with the lowest log-loss in cross-validation over families.

    Args:
        labels, logits: (N,) as in `fit_calibrator`. groups: (N,) family of each; a family is in one fold only.

    Returns:
        The calibration, fitted on all videos; and the held-out log-loss (nats, equal odds) of each kind that could be
        fitted, and of `none` (the sigmoid of the uncalibrated score).

    Raises:
        InputError: too few videos of a class for any kind.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    y, x, codes = np.asarray(labels, bool), np.asarray(logits, np.float64), np.asarray(groups)
    folds = min(folds, len(np.unique(codes[y])), len(np.unique(codes[~y])))
    if folds < 2:
        raise InputError("calibration needs fakes and reals of at least two families")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = list(splitter.split(x, y, codes))
    losses = {"none": balanced_log_loss(y, sigmoid(x.clip(-MAX_LOGIT, MAX_LOGIT)))}
    for kind in CALIBRATIONS:
        held_out = np.full(len(y), np.nan)
        try:
            for train, test in parts:
                held_out[test] = calibrate(fit_calibrator(kind, y[train], x[train]), x[test])
        except InputError:
            continue  # too few videos for this kind
        losses[kind] = balanced_log_loss(y, held_out)
    if len(losses) == 1:
        fit_calibrator("temperature", y, x)  # raises if a class has too few videos
        raise InputError("too few videos in a fold to choose a calibration", fix="validate on more videos")
    best = min((kind for kind in CALIBRATIONS if kind in losses), key=losses.__getitem__)
    return fit_calibrator(best, y, x), losses


def balanced_log_loss(labels: ArrayLike, probs: ArrayLike) -> float:
    """The mean negative log-likelihood (nats) of each class, averaged over both classes."""
    y, p = np.asarray(labels, bool), np.asarray(probs, np.float64).clip(EDGE, 1 - EDGE)
    return float((-np.log(p[y]).mean() - np.log(1 - p[~y]).mean()) / 2)


def sigmoid(x: ArrayLike) -> NDArray[np.float64]:
    """1 / (1 + exp(-x))."""
    values = np.asarray(x, np.float64)
    small = np.exp(-np.abs(values))  # cannot overflow; importing SciPy would slow down a verdict
    return np.where(values >= 0, 1 / (1 + small), small / (1 + small))


def _temperature(y: NDArray[np.bool_], x: NDArray[np.float64], weights: NDArray[np.float64]) -> dict[str, Any]:
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        z = np.where(y, x, -x) / np.exp(log_t)
        return float((weights * np.logaddexp(0, -z)).mean())

    return {"temperature": float(np.exp(minimize_scalar(loss, bounds=(-4, 6), method="bounded").x))}


def _platt(y: NDArray[np.bool_], x: NDArray[np.float64], weights: NDArray[np.float64]) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression

    # Platt's prior of one more video in each class: without it, perfectly separated classes have no best slope.
    fakes, reals = y.sum(), (~y).sum()
    soft = np.where(y, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    rows = np.concatenate([x, x])[:, None]
    both = np.concatenate([np.ones(len(x)), np.zeros(len(x))])
    model = LogisticRegression(C=1e6, max_iter=1000)
    model.fit(rows, both, sample_weight=np.concatenate([weights * soft, weights * (1 - soft)]))
    return {"slope": max(float(model.coef_[0, 0]), 0.0), "intercept": float(model.intercept_[0])}


def _isotonic(y: NDArray[np.bool_], x: NDArray[np.float64], weights: NDArray[np.float64]) -> dict[str, Any]:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=EDGE, y_max=1 - EDGE, out_of_bounds="clip").fit(x, y, sample_weight=weights)
    return {"x": [float(v) for v in model.X_thresholds_], "y": [float(v) for v in model.y_thresholds_]}

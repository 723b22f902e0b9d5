"""Strategies that turn the faces of a video into one score, 0..1; higher means fake.

`fraction` is the paper's rule (MRI-GAN, section 5); the others are common alternatives. Each strategy computes all
videos of a table at once, from (N,) probabilities of faces and the (N,) index of each face's video.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrigan.errors import ConfigError, InputError
from mrigan.evaluation.calibration import MAX_LOGIT, sigmoid

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
FAKE_CERTAIN, REAL_CERTAIN = 0.8, 0.2  # for the confident mean (Seferbekov, winner of the DFDC, 2020)
FAKE_SHARE, REAL_SHARE, FAKE_FACES = 0.4, 0.9, 11
ROUNDING = 1e-9  # .07 * 100 is 7.000000000000001: a fraction that is reached exactly must count as reached
TOP = 0.2  # of a video's faces, at least one
MIN_LEARNED_VIDEOS = 20  # of each class
FEATURES = ("mean", "std", "q10", "q50", "q90", "most", "faces")  # of the logits; faces: log of their number


def aggregate(
    name: str, probs: ArrayLike, videos: ArrayLike, count: int, settings: Mapping[str, Any] | None = None
) -> Floats:
    """One score per video.

    Args:
        name: `fraction`, `mean`, `mean_logit`, `confident_mean`, `top` or `learned`.
        probs: (N,) of all faces, 0..1. videos: (N,) index of each face's video, 0..count-1.
        settings: `{"frame": …}` for `fraction`; the result of `fit_learned` for `learned`.

    Returns:
        (count,) scores; NaN for a video without a face.

    Raises:
        ConfigError: unknown strategy, or a missing setting.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"unknown aggregation {name!r}", fix=f"use one of: {', '.join(STRATEGIES)}")
    p, codes = np.asarray(probs, np.float64), np.asarray(videos, np.int64)
    try:
        scores = STRATEGIES[name](p, codes, count, settings or {})
    except KeyError as error:
        raise ConfigError(f"aggregation {name} needs the setting {error}") from None
    return np.where(np.bincount(codes, minlength=count) > 0, scores, np.nan)


def fit_learned(labels: ArrayLike, probs: ArrayLike, videos: ArrayLike) -> dict[str, Any]:
    """Fit a logistic regression on `FEATURES` of each video's logits, on validation, with equal class weights.

    Args:
        labels: (K,) of the videos, 1 = fake; each video has a face. probs: (N,). videos: (N,) 0..K-1.

    Raises:
        InputError: fewer than 20 videos of a class.
    """
    from sklearn.linear_model import LogisticRegression

    y, codes = np.asarray(labels, bool), np.asarray(videos, np.int64)
    if min(y.sum(), (~y).sum()) < MIN_LEARNED_VIDEOS:
        what = f"{y.sum()} fakes and {(~y).sum()} reals are too few to learn a rule"
        raise InputError(what, fix=f"give at least {MIN_LEARNED_VIDEOS} of each")
    x = _features(np.asarray(probs, np.float64), codes, len(y))
    center, spread = x.mean(0), np.maximum(x.std(0), 1e-6)
    model = LogisticRegression(class_weight="balanced", max_iter=1000).fit((x - center) / spread, y)
    weights = model.coef_[0] / spread
    intercept = float(model.intercept_[0] - center @ weights)
    return {"weights": dict(zip(FEATURES, map(float, weights), strict=True)), "intercept": intercept}


def best_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """The threshold with the best balanced accuracy on validation videos; a video is fake from this score on.

    If several thresholds are equally good: the middle of the widest gap between scores. 0.5 if there is only one class,
    or if no threshold is better than one answer for all videos.
    """
    y, s = np.asarray(labels, bool), np.asarray(scores, np.float64)
    if y.all() or not y.any():
        return 0.5
    values = np.unique(s)
    cuts = np.concatenate([[values[0] / 2], (values[1:] + values[:-1]) / 2, [(1 + values[-1]) / 2]])
    gaps = np.concatenate([[values[0]], np.diff(values), [1 - values[-1]]])
    missed = np.searchsorted(np.sort(s[y]), cuts) / y.sum()  # fakes below the cut
    passed = np.searchsorted(np.sort(s[~y]), cuts) / (~y).sum()  # reals below the cut
    balanced = (1 - missed + passed) / 2
    if balanced.max() <= 0.5 + 1e-12:
        return 0.5
    good = np.flatnonzero(balanced >= balanced.max() - 1e-12)
    return float(cuts[good[np.argmax(gaps[good])]])


def _fraction(p: Floats, codes: Codes, count: int, settings: Mapping[str, Any]) -> Floats:
    return _mean((p > settings["frame"]).astype(np.float64), codes, count)


def _mean_of_probs(p: Floats, codes: Codes, count: int, _: Mapping[str, Any]) -> Floats:
    return _mean(p, codes, count)


def _mean_logit(p: Floats, codes: Codes, count: int, _: Mapping[str, Any]) -> Floats:
    return sigmoid(_mean(_logits(p), codes, count))


def _confident_mean(p: Floats, codes: Codes, count: int, _: Mapping[str, Any]) -> Floats:
    """The mean of the certainly fake faces if they are many; of the certainly real faces if they are nearly all; else
    of all faces."""
    faces = np.bincount(codes, minlength=count)
    fake, real = p > FAKE_CERTAIN, p < REAL_CERTAIN
    fakes, reals = (np.bincount(codes[chosen], minlength=count) for chosen in (fake, real))
    many_fakes = (fakes > FAKE_SHARE * faces) & (fakes > FAKE_FACES)
    nearly_all_real = (reals > REAL_SHARE * faces) & ~many_fakes
    mean = _mean(p, codes, count)
    of_fakes, of_reals = _mean(p[fake], codes[fake], count), _mean(p[real], codes[real], count)
    return np.where(many_fakes, of_fakes, np.where(nearly_all_real, of_reals, mean))


def _top(p: Floats, codes: Codes, count: int, _: Mapping[str, Any]) -> Floats:
    """The mean of the highest fifth, because a forgery may be visible in few frames."""
    order, first, faces = _by_video(p, codes, count)
    rank = np.arange(len(p)) - first[codes[order]]  # 0 = the lowest of its video
    kept = order[rank >= (faces - np.ceil(TOP * faces))[codes[order]]]
    return _mean(p[kept], codes[kept], count)


def _learned(p: Floats, codes: Codes, count: int, settings: Mapping[str, Any]) -> Floats:
    weights = np.array([settings["weights"][name] for name in FEATURES])
    return sigmoid(_features(p, codes, count) @ weights + settings["intercept"])


STRATEGIES: dict[str, Callable[[Floats, Codes, int, Mapping[str, Any]], Floats]] = {
    "fraction": _fraction,
    "mean": _mean_of_probs,
    "mean_logit": _mean_logit,
    "confident_mean": _confident_mean,
    "top": _top,
    "learned": _learned,
}


def _features(p: Floats, codes: Codes, count: int) -> Floats:
    """(count, 7) FEATURES of each video's logits; zeros for a video without a face."""
    x = _logits(p)
    order, first, faces = _by_video(x, codes, count)
    ordered, none = np.append(x[order], 0.0), faces == 0
    mean = _mean(x, codes, count)
    variance = np.maximum(_mean(x**2, codes, count) - mean**2, 0)
    columns = [mean, np.sqrt(variance)]
    for q in (0.1, 0.5, 0.9, 1.0):
        at = first + q * np.maximum(faces - 1, 0)  # linear between neighbours, as numpy.quantile
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, first + np.maximum(faces - 1, 0))
        columns.append(ordered[low] + (at - low) * (ordered[high] - ordered[low]))
    return np.where(none[:, None], 0.0, np.stack([*columns, np.log(np.maximum(faces, 1))], axis=1))


def _by_video(values: Floats, codes: Codes, count: int) -> tuple[Codes, Codes, Codes]:
    """The order of rows by video and value; the first position of each video; the number of faces of each."""
    faces = np.bincount(codes, minlength=count)
    return np.lexsort((values, codes)), np.cumsum(faces) - faces, faces


def _mean(values: Floats, codes: Codes, count: int) -> Floats:
    return np.bincount(codes, values, count) / np.maximum(np.bincount(codes, minlength=count), 1)


def _logits(p: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.clip(np.log(p) - np.log1p(-np.asarray(p)), -MAX_LOGIT, MAX_LOGIT)

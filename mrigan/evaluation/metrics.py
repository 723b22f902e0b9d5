"""Frame-level metrics. Fake is the positive class. An undefined metric is None, and its reason is in `undefined`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrigan.errors import InputError
from mrigan.evaluation.curves import FPR_POINTS, Ranking, expected_calibration_error

RANKINGS = ("auc", "eer", "ap", *FPR_POINTS)  # need both classes
PROBABILITIES = ("log_loss", "brier", "ece")  # need one row


def frame_metrics(labels: ArrayLike, probs: ArrayLike, threshold: float = 0.5) -> dict[str, Any]:
    """All metrics of a set of scored faces (or of other items with a label and a probability).

    Args:
        labels: (N,) 1 = fake, 0 = real.
        probs: (N,) probability of fake, 0..1.
        threshold: a face is called fake if prob > threshold (section 5).

    Returns:
        `n fake real threshold`, `auc eer ap tpr_at_fpr_1 tpr_at_fpr_10 log_loss brier ece`, `tp fp tn fn` (counts),
        `tpr fpr tnr fnr accuracy balanced_accuracy f1 precision` (0..1), and `undefined`: {name: reason} of every
        metric that is None.

    Raises:
        InputError: lengths differ, a label is not 0 or 1, or a probability is NaN or outside 0..1.
    """
    y, p = _checked(labels, probs)
    ranking, why = ranking_metrics(y, p)
    decision, why_not = decision_metrics(y, p > threshold)
    counts = {"n": len(y), "fake": int(y.sum()), "real": int((~y).sum()), "threshold": float(threshold)}
    return {**counts, **ranking, **decision, "undefined": {**why, **why_not}}


def ranking_metrics(labels: ArrayLike, probs: ArrayLike) -> tuple[dict[str, float | None], dict[str, str]]:
    """AUC, EER, average precision, TPR at FPR 1 % and 10 %, log-loss (nats), Brier score and expected calibration error
    (15 bins) of (N,) probabilities: (metrics, reasons of undefined ones)."""
    y, p = _checked(labels, probs)
    figures: dict[str, float | None] = dict.fromkeys((*RANKINGS, *PROBABILITIES))
    reason = one_class(y)
    if len(y):
        tiny = np.finfo(np.float64).eps
        figures["log_loss"] = float(-np.log(np.where(y, p, 1 - p).clip(tiny, 1)).mean())
        figures["brier"] = float(((p - y) ** 2).mean())
        figures["ece"] = expected_calibration_error(y, p)
    if not reason:
        curve = Ranking(y, p).curve()
        figures |= {"auc": float(curve.auc()[0]), "eer": float(curve.eer()[0]), "ap": float(curve.ap()[0])}
        figures |= {name: float(curve.tpr_at_fpr(fpr)[0]) for name, fpr in FPR_POINTS.items()}
    return figures, {name: reason for name, value in figures.items() if value is None}


def decision_metrics(labels: ArrayLike, called_fake: ArrayLike) -> tuple[dict[str, int | float | None], dict[str, str]]:
    """Metrics of (N,) verdicts, the four counts and their rates: (metrics, reasons of undefined ones)."""
    y, fake = np.asarray(labels, bool), np.asarray(called_fake, bool)
    tp, fp = int((y & fake).sum()), int((~y & fake).sum())
    tn, fn = int((~y & ~fake).sum()), int((y & ~fake).sum())
    counts: dict[str, int | float | None] = {"tp": tp, "fp": fp, "tn": tn, "fn": fn}
    fakes, reals = "there is no fake", "there is no real"
    why: dict[str, str] = {}

    def ratio(name: str, part: float, whole: int, reason: str) -> None:
        counts[name] = part / whole if whole else None
        if not whole:
            why[name] = reason

    ratio("tpr", tp, tp + fn, fakes)
    ratio("fpr", fp, fp + tn, reals)
    ratio("tnr", tn, fp + tn, reals)
    ratio("fnr", fn, tp + fn, fakes)
    ratio("accuracy", tp + tn, len(y), "nothing was scored")
    tpr, tnr = counts["tpr"], counts["tnr"]
    counts["balanced_accuracy"] = None if tpr is None or tnr is None else (tpr + tnr) / 2
    if counts["balanced_accuracy"] is None:
        why["balanced_accuracy"] = one_class(y)
    ratio("f1", 2 * tp, 2 * tp + fp + fn, "there is no fake, and nothing was called fake")
    ratio("precision", tp, tp + fp, "nothing was called fake")
    return counts, why


def roc(labels: ArrayLike, probs: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ROC curve: (false-positive rates, true-positive rates), both increasing from 0 to 1. Needs both classes."""
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(np.asarray(labels, bool), np.asarray(probs, np.float64))
    return fpr, tpr


def one_class(labels: NDArray[np.bool_]) -> str:
    """Why a metric that needs both classes is undefined; empty if both classes exist."""
    if not len(labels):
        return "nothing was scored"
    if labels.all():
        return "only fakes: there is no real"
    return "" if labels.any() else "only reals: there is no fake"


def numbers(metrics: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The defined metrics as floats, for a tracker."""
    return {prefix + k: float(v) for k, v in metrics.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _checked(labels: ArrayLike, probs: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    y, p = np.asarray(labels), np.asarray(probs, np.float64)
    if y.ndim != 1 or y.shape != p.shape:
        raise InputError(f"labels {y.shape} and probabilities {p.shape} are not vectors of one length")
    if not np.isin(y, (0, 1)).all():
        raise InputError(f"labels are 0 (real) or 1 (fake), not {y[~np.isin(y, (0, 1))][0]}")
    if not ((p >= 0) & (p <= 1)).all():  # NaN fails too
        bad = int(np.flatnonzero(~((p >= 0) & (p <= 1)))[0])
        raise InputError(f"probability {bad} is {p[bad]}, not within 0..1")
    return y.astype(bool), p

"""Ranking metrics of weighted scores, for many weightings at once. A bootstrap uses them to sort the scores only once.

A weight is the number of times that a row was drawn. Fake is the positive class; higher scores mean fake. The metrics
equal those of scikit-learn on repeated rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
FPR_POINTS = {"tpr_at_fpr_1": 0.01, "tpr_at_fpr_10": 0.1}


@dataclass(frozen=True)
class Curve:
    """The ROC curves of B weightings, at T + 1 thresholds from the highest (no row is fake) to the lowest (all are).

    Attributes:
        fp, tp: (B, T + 1) weighted counts of real and fake rows that are called fake; they rise along the last axis.
    """

    fp: Floats
    tp: Floats

    @property
    def reals(self) -> Floats:
        """(B,) weighted number of reals."""
        return self.fp[:, -1]

    @property
    def fakes(self) -> Floats:
        """(B,) weighted number of fakes."""
        return self.tp[:, -1]

    def auc(self) -> Floats:
        """(B,) area under the ROC curve; NaN if a class has no weight."""
        area = (np.diff(self.fp, axis=-1) * (self.tp[:, 1:] + self.tp[:, :-1])).sum(-1) / 2
        return divide(area, self.reals * self.fakes)

    def ap(self) -> Floats:
        """(B,) average precision as in scikit-learn: the sum of (R_n - R_n-1) P_n."""
        called = self.tp[:, 1:] + self.fp[:, 1:]
        precision = divide(self.tp[:, 1:], called, empty=0.0)
        return divide((np.diff(self.tp, axis=-1) * precision).sum(-1), self.fakes)

    def eer(self) -> Floats:
        """(B,) equal error rate: where the curve, linear between its points, meets FPR = FNR."""
        fpr, tpr = self._rates()
        gap = fpr + tpr - 1  # rises from -1 to 1
        after = np.argmax(gap >= 0, axis=-1)[:, None]
        before = np.maximum(after - 1, 0)
        at = lambda values, index: np.take_along_axis(values, index, -1)[:, 0]  # noqa: E731
        low, high = at(gap, before), at(gap, after)
        share = divide(-low, high - low)
        return at(fpr, before) + share * (at(fpr, after) - at(fpr, before))

    def tpr_at_fpr(self, fpr: float) -> Floats:
        """(B,) the highest true-positive rate of a threshold whose false-positive rate is at most `fpr`."""
        fprs, tprs = self._rates()
        best = np.where(fprs <= fpr + 1e-12, tprs, 0).max(-1)
        return np.where(np.isnan(tprs[:, -1] + fprs[:, -1]), np.nan, best)

    def _rates(self) -> tuple[Floats, Floats]:
        return divide(self.fp, self.reals[:, None]), divide(self.tp, self.fakes[:, None])


class Ranking:
    """Sorts scores once; `curve` applies weights.

    Args:
        labels: (N,) 1 = fake, 0 = real.
        scores: (N,) higher = more fake; any finite scale.
    """

    def __init__(self, labels: ArrayLike, scores: ArrayLike) -> None:
        values = np.asarray(scores, np.float64)
        self.order = np.argsort(-values, kind="stable")
        self.fake = np.asarray(labels, bool)[self.order]
        ordered = values[self.order]
        self.ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1) if len(ordered) else np.zeros(0, int)

    def curve(self, weights: Floats | None = None) -> Curve:
        """The curves of (B, N) weights; None = one weighting, all 1."""
        rows = np.ones((1, len(self.fake))) if weights is None else weights[:, self.order]
        zero = np.zeros((len(rows), 1))
        tp = np.cumsum(rows * self.fake, axis=-1)[:, self.ends]
        fp = np.cumsum(rows * ~self.fake, axis=-1)[:, self.ends]
        return Curve(np.hstack([zero, fp]), np.hstack([zero, tp]))


def expected_calibration_error(labels: ArrayLike, probs: ArrayLike, bins: int = 15) -> float:
    """ECE: the mean distance between probability and frequency in `bins` equal intervals of 0..1, weighted by their
    rows (Naeini et al. 2015; the same bins as torchmetrics)."""
    y, p = np.asarray(labels, np.float64), np.asarray(probs, np.float64)
    if not len(y):
        return float("nan")
    index = np.clip(np.ceil(p * bins).astype(np.int64) - 1, 0, bins - 1)  # (low, high]
    gap = np.bincount(index, p - y, bins)
    return float(np.abs(gap).sum() / len(y))


def divide(part: Floats, whole: Floats, empty: float = np.nan) -> Floats:
    """part / whole; `empty` where whole is 0."""
    return np.divide(part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), empty), where=whole > 0)

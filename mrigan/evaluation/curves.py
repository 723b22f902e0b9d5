"""Ranking figures of weighted scores, for many weightings at once: what a bootstrap needs, without sorting again.

A weight is how often a row was drawn. Fake is the positive class; higher scores mean fake. The figures equal those of
scikit-learn on rows that are really repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
FPR_POINTS = {"tpr_at_fpr_1": 0.01, "tpr_at_fpr_10": 0.1}


@dataclass(frozen=True)
class Curve:
    """The ROC curves of B weightings: (B, T + 1) counts of what scores above each of T thresholds, from none to all.

    Attributes:
        fp, tp: reals and fakes (weighted counts) called fake, rising along the last axis from 0.
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
        """(B,) area under the ROC curve; NaN where a class has no weight."""
        area = (np.diff(self.fp, axis=-1) * (self.tp[:, 1:] + self.tp[:, :-1])).sum(-1) / 2
        return _divide(area, self.reals * self.fakes)

    def ap(self) -> Floats:
        """(B,) average precision, as scikit-learn defines it: sum of (R_n - R_n-1) P_n."""
        called = self.tp[:, 1:] + self.fp[:, 1:]
        precision = _divide(self.tp[:, 1:], called, empty=0.0)
        return _divide((np.diff(self.tp, axis=-1) * precision).sum(-1), self.fakes)

    def eer(self) -> Floats:
        """(B,) equal error rate: where the curve, straight between its points, meets FPR = FNR."""
        fpr, tpr = self._rates()
        gap = fpr + tpr - 1  # rises from -1 to 1
        after = np.argmax(gap >= 0, axis=-1)[:, None]
        before = np.maximum(after - 1, 0)
        at = lambda values, index: np.take_along_axis(values, index, -1)[:, 0]  # noqa: E731
        low, high = at(gap, before), at(gap, after)
        share = _divide(-low, high - low)
        return at(fpr, before) + share * (at(fpr, after) - at(fpr, before))

    def tpr_at_fpr(self, fpr: float) -> Floats:
        """(B,) the most fakes found by a threshold that calls no more than `fpr` of the reals fake."""
        rates, found = self._rates()
        best = np.where(rates <= fpr + 1e-12, found, 0).max(-1)
        return np.where(np.isnan(found[:, -1] + rates[:, -1]), np.nan, best)

    def _rates(self) -> tuple[Floats, Floats]:
        return _divide(self.fp, self.reals[:, None]), _divide(self.tp, self.fakes[:, None])


class Ranking:
    """Scores sorted once; `curve` weighs them anew.

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
        """The curves of (B, N) weights; of the rows as they are without weights (B = 1)."""
        rows = np.ones((1, len(self.fake))) if weights is None else weights[:, self.order]
        zero = np.zeros((len(rows), 1))
        tp = np.cumsum(rows * self.fake, axis=-1)[:, self.ends]
        fp = np.cumsum(rows * ~self.fake, axis=-1)[:, self.ends]
        return Curve(np.hstack([zero, fp]), np.hstack([zero, tp]))


def expected_calibration_error(labels: ArrayLike, probs: ArrayLike, bins: int = 15) -> float:
    """ECE: how far probability and frequency lie apart, over `bins` equal intervals of 0..1, weighted by their rows
    (Naeini et al. 2015; the bins as torchmetrics has them)."""
    y, p = np.asarray(labels, np.float64), np.asarray(probs, np.float64)
    if not len(y):
        return float("nan")
    index = np.clip(np.ceil(p * bins).astype(np.int64) - 1, 0, bins - 1)  # (low, high]
    gap = np.bincount(index, p - y, bins)
    return float(np.abs(gap).sum() / len(y))


def _divide(part: Floats, whole: Floats, empty: float = np.nan) -> Floats:
    """Part / whole; `empty` where whole is zero."""
    return np.divide(part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), empty), where=whole > 0)

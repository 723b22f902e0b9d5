"""Test whether a detector is better than chance: by the interval of its AUC, or by shuffled labels for few families."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrigan.evaluation.calibration import sigmoid
from mrigan.evaluation.curves import Ranking
from mrigan.evaluation.fit_limits import mean_logits
from mrigan.evaluation.intervals import MIN_CLUSTERS, bootstrap
from mrigan.evaluation.metrics import one_class
from mrigan.evaluation.schema import VIDEO, faces_only, group_codes

SHUFFLES, ALPHA = 999, 0.025  # one-sided: the lower end of a 95 % interval


@dataclass(frozen=True)
class Skill:
    """Whether the scores separate fake from real videos better than chance, and a sentence that says why.

    Attributes:
        auc: of the videos' mean logits; None if there is only one class.
    """

    auc: float | None
    better: bool
    why: str


def skill(scores: pa.Table) -> Skill:
    """Test whether a model is better than chance on validation.

    With at least ten families of each class: yes, if the 95 % interval of the videos' AUC, bootstrapped over families,
    is above .5. With fewer families: yes, if at most 2.5 % of 999 shuffles of the labels reach this AUC. Labels are
    shuffled within families, and families with one class are exchanged as a whole, because videos of a family are not
    independent.

    Args:
        scores: a checked table of one model, validation rows.
    """
    faces = faces_only(scores)
    codes, first = group_codes(faces, VIDEO)
    y = faces["label"].to_numpy()[first].astype(bool)
    if reason := one_class(y):
        return Skill(None, False, f"it cannot be compared with chance: {reason}")
    names = faces["family"].take(first).to_pylist()
    families = np.unique([name or f"video {i}" for i, name in enumerate(names)], return_inverse=True)[1]
    score = sigmoid(mean_logits(faces["logit"].to_numpy(), codes, len(first)))
    auc = float(Ranking(y, score).curve().auc()[0])
    of_class = [len(np.unique(families[rows])) for rows in (y, ~y)]
    summary = f"AUC {auc:.2f} of {len(y)} validation videos of {len(np.unique(families))} families"
    if min(of_class) >= MIN_CLUSTERS:
        low, high = bootstrap(y, score, score > 0.5, families)["auc"]
        return Skill(auc, bool(low > 0.5), f"{summary} (95 %: {low:.2f} to {high:.2f})")
    p = _shuffled(y, score, families, auc)
    few = f"{summary}, too few for an interval; {100 * p:.1f} % of shuffled labels reach this AUC"
    return Skill(auc, bool(p <= ALPHA), f"{few}, and the limit is {100 * ALPHA:g} %")


def _shuffled(y: NDArray[np.bool_], score: NDArray[np.float64], families: NDArray[np.int64], auc: float) -> float:
    """The share of shuffles, including the true labels, whose AUC is at least `auc`."""
    from scipy.stats import rankdata

    rng, ranks = np.random.default_rng(0), rankdata(score)
    members = [np.flatnonzero(families == family) for family in np.unique(families)]
    mixed = [rows for rows in members if 0 < y[rows].sum() < len(rows)]
    pure = [rows for rows in members if not 0 < y[rows].sum() < len(rows)]
    reached = 1
    for _ in range(SHUFFLES):
        labels = y.copy()
        for rows in mixed:
            labels[rows] = rng.permutation(y[rows])
        for rows, other in zip(pure, rng.permutation(len(pure)), strict=True):
            labels[rows] = y[pure[other][0]]
        fakes = int(labels.sum())
        if 0 < fakes < len(labels):
            above = ranks[labels].sum() - fakes * (fakes + 1) / 2  # pairs in which the fake has the higher score
            reached += above / (fakes * (len(labels) - fakes)) >= auc - 1e-12
    return reached / (SHUFFLES + 1)

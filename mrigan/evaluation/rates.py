"""Exact intervals of rates: what "0 of 4 reals called fake" says of the reals that nobody has tried.

Clopper and Pearson (1934). A bootstrap cannot do it: no draw of four right answers holds a wrong one, so that its
interval would be "0 to 0". Videos of a family are alike, so that a rate counts as many independent trials as there are
families (Korn and Graubard, 1998, with the design effect at its largest): the interval is never too narrow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

COVERAGE = 0.95


def exact_interval(rate: float, trials: int, coverage: float = COVERAGE) -> tuple[float, float]:
    """The Clopper-Pearson interval of a rate, 0..1, seen in `trials` independent trials; (0, 1) of none.

    `rate * trials` need not be whole: a rate over the videos of a few families counts the families.
    """
    from scipy.special import betaincinv  # the quantile of the beta distribution; scipy.stats takes .4 s to import

    if trials < 1:
        return 0.0, 1.0
    hits, tail = rate * trials, (1 - coverage) / 2
    misses = trials - hits
    low = 0.0 if hits <= 0 else float(betaincinv(hits, misses + 1, tail))
    high = 1.0 if misses <= 0 else float(betaincinv(hits + 1, misses, 1 - tail))
    return low, high


def rate_intervals(labels: ArrayLike, called_fake: ArrayLike, clusters: ArrayLike) -> dict[str, list[float]]:
    """Exact 95 % intervals of `tpr tnr fpr fnr accuracy`; a rate of a class that is not there is left out.

    Args:
        labels: (N,) 1 = fake. called_fake: (N,) the verdicts. clusters: (N,) the family of each.
    """
    y, said, codes = np.asarray(labels, bool), np.asarray(called_fake, bool), np.asarray(clusters)
    found = {}
    for name, rows, hits in (
        ("tpr", y, said),
        ("fnr", y, ~said),
        ("fpr", ~y, said),
        ("tnr", ~y, ~said),
        ("accuracy", np.ones(len(y), bool), said == y),
    ):
        if rows.any():
            found[name] = list(exact_interval(float(hits[rows].mean()), len(np.unique(codes[rows]))))
    return found


def words(count: int, of: int, what: str, families: int | None = None) -> str:
    """`0 of 4 reals called fake, 95 %: 0 to 60 %`, for people; with the families where several videos are of one."""
    trials = of if families is None else min(of, families)
    low, high = exact_interval(count / of if of else 0.0, trials)
    told = f"{count} of {of} {what}, 95 %: {100 * low:.0f} to {100 * high:.0f} %"
    return told if trials == of else f"{told} ({trials} families)"

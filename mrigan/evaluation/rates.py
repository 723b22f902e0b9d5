"""Exact confidence intervals of rates (Clopper and Pearson, 1934), for example of "0 of 4 reals called fake".

A bootstrap cannot give this interval: draws of four correct answers contain no error, so its interval would be "0 to
0". Videos of a family are not independent, so the number of families is the number of trials (Korn and Graubard, 1998,
with the largest design effect). The interval is never too narrow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

COVERAGE = 0.95


def exact_interval(rate: float, trials: int, coverage: float = COVERAGE) -> tuple[float, float]:
    """The Clopper-Pearson interval of a rate, 0..1, in `trials` independent trials; (0, 1) without trials.

    `rate * trials` need not be an integer: the rate may be over videos while the trials are families.
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
    """Exact 95 % intervals of `tpr tnr fpr fnr accuracy`; rates of an absent class are left out.

    Args:
        labels: (N,) 1 = fake. called_fake: (N,) the verdicts. clusters: (N,) the family of each.
    """
    y, called, codes = np.asarray(labels, bool), np.asarray(called_fake, bool), np.asarray(clusters)
    rates = {
        "tpr": (y, called),
        "fnr": (y, ~called),
        "fpr": (~y, called),
        "tnr": (~y, ~called),
        "accuracy": (np.ones(len(y), bool), called == y),
    }
    return {
        name: list(exact_interval(float(hits[rows].mean()), len(np.unique(codes[rows]))))
        for name, (rows, hits) in rates.items()
        if rows.any()
    }


def words(count: int, of: int, what: str, families: int | None = None) -> str:
    """`0 of 4 reals called fake, 95 %: 0 to 60 %`; with the number of families if it is smaller than `of`."""
    trials = of if families is None else min(of, families)
    low, high = exact_interval(count / of if of else 0.0, trials)
    text = f"{count} of {of} {what}, 95 %: {100 * low:.0f} to {100 * high:.0f} %"
    return text if trials == of else f"{text} ({trials} families)"

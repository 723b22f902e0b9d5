"""Any metrics of weighted rows, with 95 % intervals from one bootstrap over clusters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrigan.evaluation.intervals import COVERAGE, MIN_CLUSTERS, cluster_draws, number_of_draws
from mrigan.evaluation.rates import exact_interval

Floats = NDArray[np.float64]
Metrics = Callable[[Floats], Mapping[Hashable, Floats]]  # (B, N) weights of the rows → (B,) values of each metric
MAX_UNDEFINED = 0.1  # of the draws


@dataclass(frozen=True)
class Estimate:
    """A metric and its 95 % interval; None = undefined."""

    value: float | None
    interval: list[float] | None


def estimate(
    metrics: Metrics,
    clusters: NDArray[np.int64],
    units: Mapping[Hashable, int],
    *,
    rates: Collection[Hashable] = (),
    bounded: Collection[Hashable] = (),
) -> dict[Hashable, Estimate]:
    """The metrics of all rows, with percentile intervals; whole clusters are drawn with replacement.

    Args:
        metrics: computes every metric from (B, N) weights, which say how often each row was drawn; NaN = undefined.
        clusters: (N,) rows with the same number are drawn together.
        units: by metric, how many clusters it depends on. With fewer than `MIN_CLUSTERS` there is no bootstrap.
        rates: metrics that are a share of clusters: with too few clusters, their interval is exact.
        bounded: metrics within 0..1: if all draws give one value, their interval is the exact one of a rate.
    """
    whole = metrics(np.ones((1, len(clusters))))
    values = {name: None if np.isnan(value[0]) else float(value[0]) for name, value in whole.items()}
    drawn: dict[Hashable, Floats] = {}
    if any(units[name] >= MIN_CLUSTERS for name in values):
        _, codes = np.unique(clusters, return_inverse=True)
        draws = cluster_draws(codes, int(codes.max()) + 1, number_of_draws(len(codes)), 0)
        parts = [metrics(weights) for weights in draws]
        drawn = {name: np.concatenate([part[name] for part in parts]) for name in values}
    intervals: dict[Hashable, list[float] | None] = {}
    for name, value in values.items():
        spread = None if value is None or units[name] < MIN_CLUSTERS else _percentiles(drawn[name])
        certain = spread is not None and spread[1] - spread[0] < 1e-12
        if value is not None and ((certain and name in bounded) or (units[name] < MIN_CLUSTERS and name in rates)):
            spread = list(exact_interval(value, units[name]))
        intervals[name] = spread
    return {name: Estimate(value, intervals[name]) for name, value in values.items()}


def _percentiles(values: Floats) -> list[float] | None:
    if np.isnan(values).mean() > MAX_UNDEFINED:
        return None
    return [float(v) for v in np.nanquantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])]


def mean_of_sets(values: Floats) -> Floats:
    """(B,) the mean over the defined ones of (B, S) values; NaN if none is."""
    defined = ~np.isnan(values)
    count = defined.sum(-1)
    return np.where(count > 0, np.where(defined, values, 0).sum(-1) / np.maximum(count, 1), np.nan)

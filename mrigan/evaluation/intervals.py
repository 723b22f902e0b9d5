"""Confidence intervals by a bootstrap over families, and DeLong's test of two models on one test set.

Faces of a video, and videos of a family, are not independent: a bootstrap over single faces or videos would give far
too narrow intervals. Therefore whole clusters are drawn: people if the data set names enough of them, else families.
If families are unknown or too few, there is no interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from mrigan.errors import InputError
from mrigan.evaluation.curves import FPR_POINTS, Ranking
from mrigan.evaluation.rates import exact_interval, rate_intervals
from mrigan.evaluation.schema import VIDEO, group_codes

DRAWS, COVERAGE = 1000, 0.95
MIN_CLUSTERS = 10  # of each class; with fewer, an interval says little about other data
UNKNOWN = "unknown"  # the kind of cluster if the scores name no family
BOUNDED = ("auc", "ap", "eer", "tpr_at_fpr_1", "tpr_at_fpr_10", "balanced_accuracy")  # within 0..1
MAX_WEIGHTS = 4_000_000  # at a time: 32 MB
MAX_WORK = 200_000_000  # rows times draws; larger tables get fewer draws
MIN_DRAWS = 200


def kind_of_clusters(table: pa.Table) -> str:
    """The kind of cluster for the bootstrap: `group` (people) if every row has one and each class has at least ten;
    else `family` if every row has one; else `unknown` (no bootstrap)."""
    groups = all(table["group"].unique().to_pylist())
    if groups and min(_clusters_by_class(table["label"], clusters_of(table, "group"))) >= MIN_CLUSTERS:
        return "group"
    return "family" if table.num_rows and all(table["family"].unique().to_pylist()) else UNKNOWN


def clusters_of(table: pa.Table, kind: str) -> NDArray[np.int64]:
    """(N,) the cluster of each row of a checked table, by `kind_of_clusters`; each video is a cluster if `unknown`."""
    return group_codes(table, VIDEO if kind == UNKNOWN else ("dataset", kind))[0]


def intervals_of(faces: pa.Table, videos: pa.Table, threshold: float) -> dict[str, Any]:
    """95 % intervals of the metrics of one model: rates by `rate_intervals`, the others by a bootstrap over clusters.

    With fewer than ten clusters of a class there is no bootstrap, because its intervals would be too narrow. Rates
    always have intervals; if the scores name no family, each video counts as independent.

    Args:
        faces: scores, without rows of videos that have no face. videos: see `video_table`. threshold: of a face.

    Returns:
        `over` (the kind of cluster, or `unknown`), `clusters` (their number), `missing` (why there is no bootstrap, or
        empty), `frame` and `video`: `{metric: [low, high]}`, see `bootstrap` and `rate_intervals`.
    """
    kind = kind_of_clusters(videos)
    judged = videos.filter(pc.greater(videos["faces"], 0))
    verdicts = pc.equal(judged["verdict"], "fake").to_numpy(zero_copy_only=False)
    levels = {
        "frame": (faces, faces["prob"].to_numpy() > threshold, clusters_of(faces, kind)),
        "video": (judged, verdicts, clusters_of(judged, kind)),
    }
    missing = _why_no_bootstrap(kind, judged["label"], levels["video"][2])
    intervals: dict[str, Any] = {level: {} for level in levels}
    for level, (table, called, clusters) in levels.items():
        if not missing:
            intervals[level] = bootstrap(table["label"], table["prob"], called, clusters)
        intervals[level] |= rate_intervals(table["label"], called, clusters)
    count = int(clusters_of(videos, kind).max(initial=-1)) + 1
    return {"over": kind, "clusters": count, "missing": missing, **intervals}


def _why_no_bootstrap(kind: str, labels: ArrayLike, clusters: NDArray[np.int64]) -> str:
    if kind == UNKNOWN:
        return "the scores name no family (column `family`) of some videos"
    fakes, reals = _clusters_by_class(labels, clusters)
    if min(fakes, reals) >= MIN_CLUSTERS:
        return ""
    return f"there are fakes of {fakes} families and reals of {reals}, but {MIN_CLUSTERS} of each are needed"


def _clusters_by_class(labels: ArrayLike, clusters: NDArray[np.int64]) -> tuple[int, int]:
    """The number of clusters with fakes, and with reals."""
    y = np.asarray(labels, bool)
    return len(np.unique(clusters[y])), len(np.unique(clusters[~y]))


def bootstrap(
    labels: ArrayLike,
    probs: ArrayLike,
    called_fake: ArrayLike,
    clusters: ArrayLike,
    *,
    draws: int = 0,
    seed: int = 0,
) -> dict[str, list[float]]:
    """95 % percentile intervals of the metrics of one model; clusters are drawn with replacement.

    Args:
        labels: (N,) 1 = fake. probs: (N,) 0..1. called_fake: (N,) the verdicts.
        clusters: (N,) rows with the same number are drawn together.
        draws: 0 = 1,000, or fewer (at least 200) above 200,000 rows.

    Returns:
        `{metric: [low, high]}` of `auc ap eer tpr_at_fpr_1 tpr_at_fpr_10 log_loss brier balanced_accuracy`. A metric
        that is undefined in more than one of ten draws is left out. If all draws give one value (for example an AUC of
        1), the interval is the exact one of a rate over the clusters of the rarer class, because draws cannot show
        errors that no cluster has. Empty with fewer than two clusters.
    """
    y, p, called = np.asarray(labels, bool), np.asarray(probs, np.float64), np.asarray(called_fake, bool)
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(codes.max()) + 1 if len(codes) else 0
    if count < 2:
        return {}
    draws = draws or number_of_draws(len(y))
    ranking = Ranking(y, p)
    parts = [_figures(ranking, y, p, called, weights) for weights in cluster_draws(codes, count, draws, seed)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    tails = [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]
    intervals = {
        name: [float(v) for v in np.nanquantile(values, tails)]
        for name, values in columns.items()
        if np.isnan(values).mean() <= 0.1
    }
    for name, (low, high) in intervals.items():
        if name in BOUNDED and high - low < 1e-12:
            intervals[name] = list(exact_interval(low, min(_clusters_by_class(y, codes))))
    return intervals


def number_of_draws(rows: int) -> int:
    """1,000 draws, or fewer (at least 200) above 200,000 rows."""
    return int(np.clip(MAX_WORK // max(rows, 1), MIN_DRAWS, DRAWS))


def cluster_draws(codes: NDArray[np.int64], count: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """(B, N) how often each row is drawn, B draws at a time; the draws do not depend on B."""
    rng = np.random.default_rng(seed)
    share = np.full(count, 1 / count)
    step = max(1, MAX_WEIGHTS // max(len(codes), 1))
    for start in range(0, draws, step):
        times = rng.multinomial(count, share, size=min(step, draws - start))
        yield times[:, codes].astype(np.float64)


def _figures(
    ranking: Ranking, y: NDArray[np.bool_], p: NDArray[np.float64], called: NDArray[np.bool_], w: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    curve = ranking.curve(w)
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = -np.log(np.clip(np.where(y, p, 1 - p), np.finfo(np.float64).eps, 1))
        tpr, tnr = w @ (y & called) / (w @ y), w @ (~y & ~called) / (w @ ~y)
        total = w.sum(-1)
        return {
            "auc": curve.auc(),
            "ap": curve.ap(),
            "eer": curve.eer(),
            **{name: curve.tpr_at_fpr(fpr) for name, fpr in FPR_POINTS.items()},
            "log_loss": w @ loss / total,
            "brier": w @ (p - y) ** 2 / total,
            "balanced_accuracy": (tpr + tnr) / 2,
        }


def _clustered(
    of_fakes: NDArray[np.float64], of_reals: NDArray[np.float64], fake: NDArray[np.bool_], clusters: NDArray[Any]
) -> NDArray[np.float64]:
    """(2, 2) covariance of the two AUCs by Obuchowski (1997), from the centred components (2, m) and (2, n)."""
    _, codes = np.unique(clusters, return_inverse=True)
    count = int(codes.max()) + 1
    with_fakes, with_reals = _clusters_by_class(fake, codes)
    if min(with_fakes, with_reals) < MIN_CLUSTERS:
        what = f"fakes of {with_fakes} families and reals of {with_reals} are too few to compare two models"
        raise InputError(what, fix=f"give at least {MIN_CLUSTERS} of each")
    f = np.stack([np.bincount(codes[fake], row, count) for row in of_fakes]) / of_fakes.shape[1]
    r = np.stack([np.bincount(codes[~fake], row, count) for row in of_reals]) / of_reals.shape[1]
    mixed = f @ r.T * count / (count - 1)
    return f @ f.T * with_fakes / (with_fakes - 1) + r @ r.T * with_reals / (with_reals - 1) + mixed + mixed.T


@dataclass(frozen=True)
class DeLong:
    """The AUCs of two models on one test set, and whether they differ.

    Attributes:
        auc: of the first and of the second model. difference: first minus second.
        interval: the 95 % interval of the difference. p: two-sided, for a difference of zero.
    """

    auc: tuple[float, float]
    difference: float
    interval: tuple[float, float]
    p: float


def delong(labels: ArrayLike, first: ArrayLike, second: ArrayLike, clusters: ArrayLike | None = None) -> DeLong:
    """DeLong, DeLong and Clarke-Pearson (1988), by midranks (Sun and Xu 2014): O(n log n). With clusters, the variance
    is that of Obuchowski (1997), for rows that are not independent.

    Args:
        labels: (N,) 1 = fake. first, second: (N,) scores of the two models on the same rows.
        clusters: (N,) rows with the same number belong together (videos of a family); None = all are independent.

    Raises:
        InputError: fewer than two fakes or reals, or fewer than `MIN_CLUSTERS` clusters of a class.
    """
    from scipy.stats import norm, rankdata

    fake = np.asarray(labels, bool)
    scores = np.stack([np.asarray(first, np.float64), np.asarray(second, np.float64)])
    m, n = int(fake.sum()), int((~fake).sum())
    if min(m, n) < 2:
        raise InputError(f"{m} fakes and {n} reals are too few to compare two models", fix="give at least two of each")
    among_all = rankdata(scores, axis=1)
    of_fakes = (among_all[:, fake] - rankdata(scores[:, fake], axis=1)) / n  # (2, m) share of reals below each fake
    of_reals = 1 - (among_all[:, ~fake] - rankdata(scores[:, ~fake], axis=1)) / m  # (2, n)
    auc = of_fakes.mean(1)
    if clusters is None:
        covariance = np.cov(of_fakes) / m + np.cov(of_reals) / n
    else:
        covariance = _clustered(of_fakes - auc[:, None], of_reals - auc[:, None], fake, np.asarray(clusters))
    spread = np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0))
    difference = float(auc[0] - auc[1])
    same = spread < 1e-12 and abs(difference) < 1e-12  # equal rankings: avoid 0 / 0
    p = 1.0 if same else float(2 * norm.sf(abs(difference) / max(spread, 1e-12)))
    half = float(norm.ppf((1 + COVERAGE) / 2) * spread)
    return DeLong((float(auc[0]), float(auc[1])), difference, (difference - half, difference + half), p)

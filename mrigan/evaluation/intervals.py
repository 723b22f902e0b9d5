"""How sure a figure is: bootstrap over families, and DeLong's test of two systems on one test set.

Faces of a video, and videos of a family, are alike: a bootstrap that draws them one by one would find intervals that
are far too narrow. Whole clusters are drawn: people where the data set names enough of them, else families. Where
families are not known, or too few, there is no interval, not a narrow one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
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
MIN_CLUSTERS = 10  # of each class; fewer say little of how the figure would differ on other data
UNKNOWN = "unknown"  # instead of what is drawn, where the scores name no family
BOUNDED = ("auc", "ap", "eer", "tpr_at_fpr_1", "tpr_at_fpr_10", "balanced_accuracy")  # within 0..1
CHUNK = 4_000_000  # weights at a time: 32 MB
WORK = 200_000_000  # rows times draws; larger tables get fewer draws
LEAST_DRAWS = 200


def kind_of_clusters(table: pa.Table) -> str:
    """What is drawn whole: `group` (people) where every row has one and there are ten of each class at least, else
    `family` where every row has one, else `unknown`: then nothing is drawn."""
    if all(table["group"].unique().to_pylist()) and _least_of_a_class(table["label"], clusters_of(table, "group")) >= (
        MIN_CLUSTERS
    ):
        return "group"
    return "family" if table.num_rows and all(table["family"].unique().to_pylist()) else UNKNOWN


def clusters_of(table: pa.Table, kind: str) -> NDArray[np.int64]:
    """(N,) the cluster of each row of a checked table; `kind` as in `kind_of_clusters`, a video each if `unknown`."""
    return group_codes(table, VIDEO if kind == UNKNOWN else ("dataset", kind))[0]


def intervals_of(faces: pa.Table, videos: pa.Table, threshold: float) -> dict[str, Any]:
    """95 % intervals of the figures of one model: rates by `rate_intervals`, the others by drawing whole clusters.

    With fewer than ten clusters of a class nothing is drawn: such intervals come out too narrow. Rates have theirs
    always; of scores that name no family they take each video for itself.

    Args:
        faces: scores, without rows of videos that have no face. videos: see `video_table`. threshold: of a face.

    Returns:
        `over` (what is drawn, or `unknown`), `clusters` (how many), `missing` (why nothing is drawn, or empty), `frame`
        and `video`: `{figure: [low, high]}`, see `bootstrap` and `rate_intervals`.
    """
    kind = kind_of_clusters(videos)
    judged = videos.filter(pc.greater(videos["faces"], 0))
    said = pc.equal(judged["verdict"], "fake").to_numpy(zero_copy_only=False)
    levels = {
        "frame": (faces, faces["prob"].to_numpy() > threshold, clusters_of(faces, kind)),
        "video": (judged, said, clusters_of(judged, kind)),
    }
    missing = _why_nothing_is_drawn(kind, judged["label"], levels["video"][2])
    drawn: dict[str, Any] = {level: {} for level in levels}
    for level, (table, called, clusters) in levels.items():
        if not missing:
            drawn[level] = bootstrap(table["label"], table["prob"], called, clusters)
        drawn[level] |= rate_intervals(table["label"], called, clusters)
    count = int(clusters_of(videos, kind).max(initial=-1)) + 1
    return {"over": kind, "clusters": count, "missing": missing, **drawn}


def _why_nothing_is_drawn(kind: str, labels: ArrayLike, clusters: NDArray[np.int64]) -> str:
    if kind == UNKNOWN:
        return "the scores name no family (column `family`) of some videos"
    y = np.asarray(labels, bool)
    fakes, reals = (len(np.unique(clusters[rows])) for rows in (y, ~y))
    if min(fakes, reals) >= MIN_CLUSTERS:
        return ""
    return f"there are fakes of {fakes} families and reals of {reals}, and it takes {MIN_CLUSTERS} of each"


def _least_of_a_class(labels: ArrayLike, clusters: NDArray[np.int64]) -> int:
    """In how many clusters there are fakes, or reals where these are fewer."""
    y = np.asarray(labels, bool)
    return min(len(np.unique(clusters[rows])) for rows in (y, ~y))


def bootstrap(
    labels: ArrayLike,
    probs: ArrayLike,
    called_fake: ArrayLike,
    clusters: ArrayLike,
    *,
    draws: int = 0,
    seed: int = 0,
) -> dict[str, list[float]]:
    """95 % percentile intervals of the figures of one system, clusters drawn with replacement.

    Args:
        labels: (N,) 1 = fake. probs: (N,) 0..1. called_fake: (N,) the verdicts.
        clusters: (N,) rows of one number are drawn together.
        draws: 0 = 1,000, and fewer (200 at least) above 200,000 rows.

    Returns:
        `{figure: [low, high]}` of `auc ap eer tpr_at_fpr_1 tpr_at_fpr_10 log_loss brier balanced_accuracy`. A figure
        that is undefined in more than one draw of ten is left out: there is too little data to say. Where all draws
        give one value (an AUC of 1), the interval is the exact one of that rate over the clusters of the rarer class:
        draws cannot show what none of the clusters holds. Empty with fewer than two clusters.
    """
    y, p, said = np.asarray(labels, bool), np.asarray(probs, np.float64), np.asarray(called_fake, bool)
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(codes.max()) + 1 if len(codes) else 0
    if count < 2:
        return {}
    draws = draws or int(np.clip(WORK // len(y), LEAST_DRAWS, DRAWS))
    ranking, found = Ranking(y, p), []
    for weights in _draws(codes, count, draws, seed):
        found.append(_figures(ranking, y, p, said, weights))
    columns = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    tails = [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]
    intervals = {
        name: [float(v) for v in np.nanquantile(values, tails)]
        for name, values in columns.items()
        if np.isnan(values).mean() <= 0.1
    }
    for name, (low, high) in intervals.items():
        if name in BOUNDED and high - low < 1e-12:
            intervals[name] = list(exact_interval(low, _least_of_a_class(y, codes)))
    return intervals


def _draws(codes: NDArray[np.int64], count: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """(B, N) how often each row is drawn, some draws at a time; the draws do not depend on how many at a time."""
    rng = np.random.default_rng(seed)
    share = np.full(count, 1 / count)
    step = max(1, CHUNK // max(len(codes), 1))
    for start in range(0, draws, step):
        times = rng.multinomial(count, share, size=min(step, draws - start))
        yield times[:, codes].astype(np.float64)


def _figures(
    ranking: Ranking, y: NDArray[np.bool_], p: NDArray[np.float64], said: NDArray[np.bool_], w: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    curve = ranking.curve(w)
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = -np.log(np.clip(np.where(y, p, 1 - p), np.finfo(np.float64).eps, 1))
        tpr, tnr = w @ (y & said) / (w @ y), w @ (~y & ~said) / (w @ ~y)
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
    """(2, 2) covariance of the two AUCs by Obuchowski (1997), of the centred components (2, m) and (2, n)."""
    _, codes = np.unique(clusters, return_inverse=True)
    count = int(codes.max()) + 1
    with_fakes, with_reals = (len(np.unique(codes[rows])) for rows in (fake, ~fake))
    if min(with_fakes, with_reals) < MIN_CLUSTERS:
        raise InputError(f"fakes of {with_fakes} families and reals of {with_reals} are too few to compare two systems",
                         fix=f"at least {MIN_CLUSTERS} of each")  # fmt: skip
    f = np.stack([np.bincount(codes[fake], row, count) for row in of_fakes]) / of_fakes.shape[1]
    r = np.stack([np.bincount(codes[~fake], row, count) for row in of_reals]) / of_reals.shape[1]
    mixed = f @ r.T * count / (count - 1)
    return f @ f.T * with_fakes / (with_fakes - 1) + r @ r.T * with_reals / (with_reals - 1) + mixed + mixed.T


@dataclass(frozen=True)
class DeLong:
    """Two AUCs on one test set, and whether they differ.

    Attributes:
        auc: of the first and of the second system. difference: first minus second.
        interval: 95 % of the difference. p: two-sided, of the difference being zero.
    """

    auc: tuple[float, float]
    difference: float
    interval: tuple[float, float]
    p: float

    def as_dict(self) -> dict[str, Any]:
        """As metrics.json keeps it."""
        return asdict(self)


def delong(labels: ArrayLike, first: ArrayLike, second: ArrayLike, clusters: ArrayLike | None = None) -> DeLong:
    """DeLong, DeLong and Clarke-Pearson (1988), by midranks (Sun and Xu 2014): O(n log n); with clusters, Obuchowski
    (1997), whose variance counts what the rows of a cluster have in common.

    Args:
        labels: (N,) 1 = fake. first, second: (N,) scores of the two systems on the same rows.
        clusters: (N,) rows of one number belong together (videos of a family); None = all rows are independent.

    Raises:
        InputError: less than two fakes or reals, or of less than `MIN_CLUSTERS` clusters.
    """
    from scipy.stats import norm, rankdata

    fake = np.asarray(labels, bool)
    scores = np.stack([np.asarray(first, np.float64), np.asarray(second, np.float64)])
    m, n = int(fake.sum()), int((~fake).sum())
    if min(m, n) < 2:
        raise InputError(f"{m} fakes and {n} reals are too few to compare two systems", fix="at least two of each")
    among_all = rankdata(scores, axis=1)
    of_fakes = (among_all[:, fake] - rankdata(scores[:, fake], axis=1)) / n  # (2, m) reals that each fake beats
    of_reals = 1 - (among_all[:, ~fake] - rankdata(scores[:, ~fake], axis=1)) / m  # (2, n)
    auc = of_fakes.mean(1)
    if clusters is None:
        covariance = np.cov(of_fakes) / m + np.cov(of_reals) / n
    else:
        covariance = _clustered(of_fakes - auc[:, None], of_reals - auc[:, None], fake, np.asarray(clusters))
    spread = np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0))
    difference = float(auc[0] - auc[1])
    same = spread < 1e-12 and abs(difference) < 1e-12  # one ranking: nothing to divide by
    p = 1.0 if same else float(2 * norm.sf(abs(difference) / max(spread, 1e-12)))
    half = float(norm.ppf((1 + COVERAGE) / 2) * spread)
    return DeLong((float(auc[0]), float(auc[1])), difference, (difference - half, difference + half), p)

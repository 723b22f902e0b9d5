"""Fakes against their own originals: pair accuracy, AUC, and how much brighter the MRI of a fake is.

A fake and its original show the same person, scene, camera and codec. A model that recognizes these, and not the
forgery, fails here, however good its AUC on all videos is. A set is the fakes of one method in one data set and
compression. The macro average is the mean of the sets, so that a set of many videos does not outweigh the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mrigan.evaluation.curves import Ranking, divide
from mrigan.evaluation.estimates import Estimate, Floats, Metrics, estimate, mean_of_sets
from mrigan.evaluation.intervals import MIN_CLUSTERS, clusters_of, kind_of_clusters
from mrigan.evaluation.pairs import Pairs, Rows, find_pairs
from mrigan.evaluation.schema import MRI

SET = ("dataset", "compression", "method")
RATES = ("pair_accuracy", "mri_pair_accuracy")
BOUNDED = (*RATES, "auc", "mri_auc")
OF_PROB = ("pair_accuracy", "auc")
OF_MRI = ("mri_pair_accuracy", "mri_auc", "mri_fake", "mri_original", "mri_ratio")
METRICS = (*OF_PROB, *OF_MRI)
UNITS = {"group": "people (or other groups)", "family": "families"}  # every pair has a family
ALL, MACRO = "all", "macro"


def against_originals(videos: pa.Table) -> dict[str, Any] | None:
    """The metrics of one model on the fakes whose originals are scored too.

    Args:
        videos: see `video_table`. The score of a video is the mean probability of its faces.

    Returns:
        None if no fake has its original here. Else `{"over", "clusters", "missing", "without_original", "sets": [row],
        "all": row, "macro": row}`. `over`, `clusters` and `missing` are those of the bootstrap, as in `intervals_of`;
        `without_original` counts the fakes that are in no pair. `all` takes all fakes as one set; `macro` is the mean
        of the sets. A row has `dataset compression method`, `fakes`, `families`, `intervals`, and

        - `pair_accuracy`: the share of fakes that score above their original; a tie counts half.
        - `auc`: of the fakes and their originals.
        - if the model draws MRIs, `mri_pair_accuracy` and `mri_auc`: the same with the MRI's mean brightness as the
          score; `mri_fake` and `mri_original`: this brightness, 0..1; `mri_ratio`: the first divided by the second.
    """
    judged = videos.filter(pc.greater(videos["faces"], 0))
    pairs = find_pairs(judged)
    if not len(pairs.fake):
        return None
    used, rows = np.unique(np.concatenate([pairs.fake, pairs.original]), return_inverse=True)
    fakes, originals = np.split(rows, 2)
    paired, pairs = judged.take(pa.array(used)), Pairs(fakes, originals, pairs.share)
    kind = kind_of_clusters(paired)
    codes = clusters_of(paired, kind)
    names = list(zip(*(paired[name].to_pylist() for name in SET), strict=True))
    of_pair = [names[row] for row in pairs.fake]
    parts: dict[Any, Pairs] = {
        name: pairs.select(np.array([other == name for other in of_pair])) for name in sorted(set(of_pair))
    }
    sets = list(parts)
    parts[ALL] = pairs
    units = {key: _clusters(part, codes) for key, part in parts.items()} | {MACRO: _clusters(pairs, codes)}
    metrics = _metrics(paired, parts)
    keys: list[Any] = list(metrics(np.ones((1, paired.num_rows))))
    estimates = estimate(
        metrics,
        codes,
        {key: units[key[1]] for key in keys},
        rates=[key for key in keys if key[0] in RATES and key[1] != MACRO],
        bounded=[key for key in keys if key[0] in BOUNDED],
    )

    def row(key: Any, part: Pairs) -> dict[str, Any]:
        of_key = {name: estimates[name, other] for name, other in keys if other == key}
        named = dict(zip(SET, key if key in sets else ("", "", key), strict=True))
        return {**named, "fakes": len(np.unique(part.fake)), "families": units[key], **_figures(of_key)}

    few = f"the fakes are of {units[ALL]} {UNITS[kind]}, but {MIN_CLUSTERS} are needed"
    return {
        "over": kind,
        "clusters": units[ALL],
        "missing": few if units[ALL] < MIN_CLUSTERS else "",
        "without_original": int(np.sum(judged["label"].to_numpy())) - len(np.unique(pairs.fake)),
        "sets": [row(name, parts[name]) for name in sets],
        ALL: row(ALL, pairs),
        MACRO: row(MACRO, pairs),
    }


def _clusters(pairs: Pairs, codes: Rows) -> int:
    """The number of clusters (people or families) that a set of pairs consists of."""
    return min(len(np.unique(codes[rows])) for rows in (pairs.fake, pairs.original))


def _figures(estimates: dict[str, Estimate]) -> dict[str, Any]:
    values = {name: found.value for name, found in estimates.items()}
    return {
        **values,
        "intervals": {name: found.interval for name, found in estimates.items() if found.interval is not None},
        "undefined": {name: "the MRIs of the originals are black" for name, value in values.items() if value is None},
    }


def _metrics(videos: pa.Table, parts: dict[Any, Pairs]) -> Metrics:
    """The metrics by (name, key of `parts` or `MACRO`), from the weights of the videos."""
    scores = {"": videos["prob"].to_numpy()}
    if not videos[MRI.name].null_count:
        scores["mri_"] = videos[MRI.name].to_numpy()
    rankings = {(prefix, key): _ranking(part, score) for prefix, score in scores.items() for key, part in parts.items()}

    def metrics(weights: Floats) -> dict[Any, Floats]:
        found: dict[Any, Floats] = {}
        for (prefix, key), (rows, ranking) in rankings.items():
            score, part = scores[prefix], parts[key]
            of_pair = weights[:, part.fake] * part.share
            fake, original = score[part.fake], score[part.original]
            above = (fake > original) + 0.5 * (fake == original)
            found[f"{prefix}pair_accuracy", key] = divide(of_pair @ above, of_pair.sum(-1))
            found[f"{prefix}auc", key] = ranking.curve(weights[:, rows]).auc()
            if prefix:
                bright = [divide(of_pair @ values, of_pair.sum(-1)) for values in (fake, original)]
                found["mri_fake", key], found["mri_original", key] = bright
                found["mri_ratio", key] = divide(bright[0], bright[1])
        for name in dict.fromkeys(name for name, _ in found):
            found[name, MACRO] = mean_of_sets(np.stack([found[name, key] for key in parts if key != ALL], axis=-1))
        if "mri_" in scores:  # a mean of ratios would be that of the set with the darkest originals
            found["mri_ratio", MACRO] = divide(found["mri_fake", MACRO], found["mri_original", MACRO])
        return found

    return metrics


def _ranking(pairs: Pairs, score: Floats) -> tuple[Rows, Ranking]:
    """The rows of a set (its fakes, and their different originals), and their ranking."""
    fakes, reals = np.unique(pairs.fake), np.unique(pairs.original)
    rows = np.concatenate([fakes, reals])
    return rows, Ranking(np.repeat([1, 0], [len(fakes), len(reals)]), score[rows])

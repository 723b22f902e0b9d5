"""Compare the paper's rule for videos with other rules, each with its own threshold from validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from mrigan.errors import InputError
from mrigan.evaluation.aggregation import ROUNDING, STRATEGIES, aggregate, best_threshold, fit_learned
from mrigan.evaluation.metrics import decision_metrics, ranking_metrics
from mrigan.evaluation.schema import VIDEO, faces_only, group_codes

RANKED = ("auc", "ap", "eer")


def compare_strategies(scores: pa.Table, validation: pa.Table, thresholds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per strategy (see `mrigan.evaluation.aggregation`), on the videos with a face.

    Args:
        scores: a checked scores table of one model. validation: the same model's validation rows, may be empty.
        thresholds: `frame` and `fraction`, for the `fraction` strategy.

    Returns:
        `strategy`, `threshold` (None without validation rows), `auc ap eer tpr tnr balanced_accuracy`, and `undefined`
        {metric: reason}. A strategy that cannot be fitted is left out.
    """
    rows = []
    labels, probs, codes = _videos(scores)
    val = _videos(validation) if validation.num_rows else None
    if val is not None and not len(val[0]):
        val = None
    for name in STRATEGIES:
        settings: dict[str, Any] = {"frame": thresholds["frame"]}
        if name == "learned":
            try:
                settings = fit_learned(*val) if val is not None else {}
            except InputError:
                continue
            if not settings:
                continue
        scored = aggregate(name, probs, codes, len(labels), settings)
        if name == "fraction":
            threshold: float | None = float(thresholds["fraction"])
        elif val is None:
            threshold = None
        else:
            threshold = best_threshold(val[0], aggregate(name, val[1], val[2], len(val[0]), settings))
        figures, why = ranking_metrics(labels, scored)
        row: dict[str, Any] = {"strategy": name, "threshold": threshold, **{key: figures[key] for key in RANKED}}
        decided = ("tpr", "tnr", "balanced_accuracy")
        if threshold is None:
            row |= dict.fromkeys(decided)
            why |= dict.fromkeys(decided, "there are no validation scores to find its threshold on")
        else:
            decision, why_not = decision_metrics(labels, scored >= threshold - ROUNDING)
            row |= {key: decision[key] for key in decided}
            why |= why_not
        rows.append({**row, "undefined": {key: reason for key, reason in why.items() if key in row}})
    return rows


def _videos(scores: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (K,) of the videos with a face, probabilities (N,) of the faces, and the video index (N,) of each."""
    faces = faces_only(scores)
    codes, first = group_codes(faces, VIDEO)
    return faces["label"].to_numpy()[first].astype(bool), faces["prob"].to_numpy(), codes

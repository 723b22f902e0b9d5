"""What a model must know of itself to doubt: a calibration, other rules' thresholds, and the limits of what it knows.

All is fitted on validation faces that the model has not trained on, and travels with it in model.json. Two limits come
from the training faces: how colourless a face may be, and, where too few families were held out to say more, how far a
face may lie from those that the model has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrigan.errors import InputError
from mrigan.evaluation.aggregation import STRATEGIES, aggregate, best_threshold, fit_learned
from mrigan.evaluation.calibration import LARGEST, LEAST, choose_calibrator
from mrigan.evaluation.limits import LIMITS, SHARE
from mrigan.evaluation.schema import VIDEO, faces_only, group_codes

QUANTILE = 0.01  # of the validation faces lie beyond each limit
MIN_FACES = 3  # of a video
LEAST_FAMILIES = 20  # on validation; how a few people look is no limit of what a detector can judge


def fit_doubt(
    scores: pa.Table, measures: Mapping[str, NDArray[np.float64]], from_training: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Calibration, rules and limits of one model.

    Args:
        scores: a checked scores table, validation rows of one model.
        measures: `side` (px), `sharpness`, `distance`, each (N,) of validation faces in any order; some may be missing.
        from_training: limits that the training faces set, where validation sets none.

    Returns:
        `calibration`: a calibrator of the mean logit of a video's faces, None with the reason in `uncalibrated`;
        `calibration_log_loss`: held-out, by kind; `rules`: `{name: {"threshold", "settings"}}`, from 5 videos
        of each class on; `limits`: `{"min_faces", "share", "min_side", "min_sharpness", "max_distance"}`, the last
        three from 20 families on, and those of `from_training`; `from_training`: the names of these.
    """
    faces = faces_only(scores)
    codes, first = group_codes(faces, VIDEO)
    labels = faces["label"].to_numpy()[first].astype(bool)
    probs = faces["prob"].to_numpy()
    families = faces["family"].take(first).to_pylist()
    groups = [family or str(i) for i, family in enumerate(families)]
    known = measures if len(set(groups)) >= LEAST_FAMILIES else {}
    limits = _limits(known)
    added = {name: value for name, value in (from_training or {}).items() if name not in limits}
    doubt: dict[str, Any] = {"rules": _rules(labels, probs, codes), "limits": limits | added}
    doubt["from_training"] = sorted(added)
    try:
        doubt["calibration"], doubt["calibration_log_loss"] = choose_calibrator(
            labels, mean_logits(faces["logit"].to_numpy(), codes, len(first)), groups
        )
    except InputError as error:
        doubt |= {"calibration": None, "uncalibrated": error.what}
    return doubt


def mean_logits(logits: NDArray[np.float64], videos: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(count,) the mean of each video's logits, none of them beyond ±15: what a calibrator takes."""
    clipped = np.clip(logits, -LARGEST, LARGEST)
    return np.bincount(videos, clipped, count) / np.maximum(np.bincount(videos, minlength=count), 1)


def _limits(measures: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    limits: dict[str, float] = {"min_faces": MIN_FACES, "share": SHARE}
    for name, (limit, _) in LIMITS.items():
        if len(measures.get(name, ())):
            quantile = 1 - QUANTILE if limit.startswith("max") else QUANTILE
            limits[limit] = float(np.quantile(measures[name], quantile))
    return limits


def _rules(labels: NDArray[np.bool_], probs: NDArray[np.float64], codes: NDArray[np.int64]) -> dict[str, Any]:
    """A threshold of every strategy but `fraction`, whose pair the model has already; none from a handful of videos."""
    rules: dict[str, Any] = {}
    if min(labels.sum(), (~labels).sum()) < LEAST:
        return rules
    for name in STRATEGIES:
        settings: dict[str, Any] = {}
        if name == "learned":
            try:
                settings = fit_learned(labels, probs, codes)
            except InputError:
                continue
        if name != "fraction":
            scored = aggregate(name, probs, codes, len(labels), settings)
            rules[name] = {"threshold": best_threshold(labels, scored), "settings": settings}
    return rules

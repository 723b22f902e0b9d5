"""Fit what model.json stores beside the weights: the calibration, the thresholds of other rules, and the limits.

All are fitted on validation faces. Two limits come from the training faces: the minimum colour of a face and, if too
few families were held out, the maximum distance of a face from the training faces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrigan.config.model_card import FittedCard, Limits, RuleSettings, StoredRule
from mrigan.errors import InputError
from mrigan.evaluation.aggregation import STRATEGIES, aggregate, best_threshold, fit_learned
from mrigan.evaluation.calibration import MAX_LOGIT, MIN_VIDEOS, choose_calibrator
from mrigan.evaluation.limits import LIMITS, SHARE
from mrigan.evaluation.schema import VIDEO, faces_only, group_codes

QUANTILE = 0.01  # of the validation faces are beyond each limit
MIN_FACES = 3  # of a video
MIN_FAMILIES = 20  # on validation; a few people do not show the limits of a detector


def fit_limits(
    scores: pa.Table, measures: Mapping[str, NDArray[np.float64]], from_training: Mapping[str, float] | None = None
) -> FittedCard:
    """The calibration, rules and limits of one model.

    Args:
        scores: a checked scores table, validation rows of one model.
        measures: `side` (px), `sharpness`, `distance`, each (N,) of validation faces in any order; some may be missing.
        from_training: limits from the training faces, used where validation gives none.

    Returns:
        `calibration` is of the mean logit of a video's faces. `rules` need at least 5 videos of each class, the limits
        other than `min_faces` and `share` at least 20 families or `from_training`.
    """
    faces = faces_only(scores)
    codes, first = group_codes(faces, VIDEO)
    labels = faces["label"].to_numpy()[first].astype(bool)
    probs = faces["prob"].to_numpy()
    families = faces["family"].take(first).to_pylist()
    groups = [family or str(i) for i, family in enumerate(families)]
    limits = _limits(measures if len(set(groups)) >= MIN_FAMILIES else {})
    added = {name: value for name, value in (from_training or {}).items() if name not in limits}
    fitted = FittedCard(
        rules=_rules(labels, probs, codes), limits=Limits(**(limits | added)), from_training=sorted(added)
    )
    try:
        calibration, losses = choose_calibrator(
            labels, mean_logits(faces["logit"].to_numpy(), codes, len(first)), groups
        )
    except InputError as error:
        return replace(fitted, uncalibrated=error.what)
    return replace(fitted, calibration=calibration, calibration_log_loss=losses)


def mean_logits(logits: NDArray[np.float64], videos: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(count,) the mean of each video's logits, clipped to ±15: the input of a calibrator."""
    clipped = np.clip(logits, -MAX_LOGIT, MAX_LOGIT)
    return np.bincount(videos, clipped, count) / np.maximum(np.bincount(videos, minlength=count), 1)


def _limits(measures: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    limits: dict[str, Any] = {"min_faces": MIN_FACES, "share": SHARE}
    for name, (limit, _) in LIMITS.items():
        if len(measures.get(name, ())):
            quantile = 1 - QUANTILE if limit.startswith("max") else QUANTILE
            limits[limit] = float(np.quantile(measures[name], quantile))
    return limits


def _rules(labels: NDArray[np.bool_], probs: NDArray[np.float64], codes: NDArray[np.int64]) -> dict[str, StoredRule]:
    """The threshold of every strategy except `fraction`, whose thresholds the model has; {} with too few videos."""
    rules: dict[str, StoredRule] = {}
    if min(labels.sum(), (~labels).sum()) < MIN_VIDEOS:
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
            rules[name] = StoredRule(best_threshold(labels, scored), RuleSettings(**settings))
    return rules

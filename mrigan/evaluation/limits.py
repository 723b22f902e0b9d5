"""Apply the limits of a model to the faces of a video; `mrigan.evaluation.fit_limits` finds the limits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mrigan.config.model_card import Limits

SHARE = 0.5  # a video is not judged if more than this share of its faces is beyond a limit
LIMITS = {"side": ("min_side", "too_small"), "sharpness": ("min_sharpness", "too_blurred"),
          "distance": ("max_distance", "out_of_range"), "colour": ("min_colour", "out_of_range")}  # fmt: skip
NO_LIMIT = (  # for verdicts of a model without a limit of the distance
    "no limit known: this model cannot recognize faces that differ from its training faces, and judges them too"
)


def beyond(limits: Limits, measures: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.bool_]]:
    """Measure → which faces are beyond its limit: `{"side": (N,), …}`, for the measures that have a limit."""
    result = {}
    for name, (limit, _) in LIMITS.items():
        bound = getattr(limits, limit)
        if bound is not None and name in measures:
            values = np.asarray(measures[name])
            result[name] = values > bound if limit.startswith("max") else values < bound
    return result


def tolerated(limits: Limits) -> float:
    """The share of faces beyond a limit, above which a video is not judged."""
    return SHARE if limits.share is None else limits.share


def limit_passed(limits: Limits, measures: Mapping[str, NDArray[np.float64]]) -> str | None:
    """The first limit (`min_side`, …) that more than `share` of these faces exceed; such a video is not judged."""
    for name, faces in beyond(limits, measures).items():
        if len(faces) and faces.mean() > tolerated(limits):
            return LIMITS[name][0]
    return None


def reason_not_judged(limits: Limits, measures: Mapping[str, NDArray[np.float64]]) -> str | None:
    """Why a video with these faces is not judged (`too_small`, `too_blurred`, `out_of_range`); None = it is judged."""
    return dict(LIMITS.values()).get(limit_passed(limits, measures) or "")

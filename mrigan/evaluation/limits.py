"""The limits of what a model can judge, applied to the faces of a video; `mrigan.evaluation.doubt` finds them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

SHARE = 0.5  # a video of which more than this lies beyond a limit is not judged
LIMITS = {"side": ("min_side", "too_small"), "sharpness": ("min_sharpness", "too_blurred"),
          "distance": ("max_distance", "out_of_range"), "colour": ("min_colour", "out_of_range")}  # fmt: skip
NO_LIMIT = (  # what a verdict of a model without a limit on the distance must say first
    "no limit known: this model cannot tell faces unlike those that it learned from, and calls them real or fake too"
)


def beyond(limits: Mapping[str, float], measures: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.bool_]]:
    """By measure, which faces lie beyond its limit: `{"side": (N,), …}`, those that have one."""
    found = {}
    for name, (limit, _) in LIMITS.items():
        if limit in limits and name in measures:
            values = np.asarray(measures[name])
            found[name] = values > limits[limit] if limit.startswith("max") else values < limits[limit]
    return found


def limit_passed(limits: Mapping[str, float], measures: Mapping[str, NDArray[np.float64]]) -> str | None:
    """The first limit (`min_side`, …) that more than `share` of these faces lie beyond; they are then not judged."""
    for name, faces in beyond(limits, measures).items():
        if len(faces) and faces.mean() > limits.get("share", SHARE):
            return LIMITS[name][0]
    return None


def reason_to_doubt(limits: Mapping[str, float], measures: Mapping[str, NDArray[np.float64]]) -> str | None:
    """Why a video with these faces is not judged, by `limit_passed`: `too_small`, `too_blurred` or `out_of_range`."""
    return dict(LIMITS.values()).get(limit_passed(limits, measures) or "")

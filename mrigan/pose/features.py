"""Features of many faces, and how many have none, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrigan.pose.head_pose import FEATURE, Camera, NoPoseError, PoseDifference, pose_difference
from mrigan.pose.mean_face import DEPTH


@dataclass(frozen=True)
class PoseFeatures:
    """The features of N faces.

    Attributes:
        values: (N, 12) float64; NaN where there is no answer.
        reasons: why there is none → number of faces.
    """

    values: NDArray[np.float64]
    reasons: Counter[str]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(N,)."""
        return np.asarray(np.isfinite(self.values).all(axis=1))


def pose_features(
    faces: Iterable[tuple[NDArray[np.floating], Camera]],
    depth: float = DEPTH,
    of: Callable[[PoseDifference], NDArray[np.float64]] = lambda poses: poses.feature,
) -> PoseFeatures:
    """The features of faces, each (68, 2) points in px and the camera that saw them.

    Args:
        depth: see `mean_face`.
        of: the 12 numbers of a face's two poses.
    """
    values: list[NDArray[np.float64]] = []
    reasons: Counter[str] = Counter()
    for points, camera in faces:
        try:
            values.append(of(pose_difference(points, camera, depth)))
        except NoPoseError as error:
            reasons[str(error)] += 1
            values.append(np.full(FEATURE, np.nan))
    return PoseFeatures(np.array(values).reshape(-1, FEATURE), reasons)

"""The pose of a head from its points: the rotation and translation with which a mean head best projects onto them.

Eq. 1 of the paper, solved by OpenCV's `solvePnP` from an initial guess. Without one, most poses of a face's contour
end up behind the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mrigan.pose.mean_face import DEPTH, mean_face
from mrigan.pose.points import CENTRAL, POINTS_68, WHOLE, eye_distance

FEATURE = 12  # numbers of `PoseDifference.feature`
MIN_EYE_PX = 4.0  # px between the eyes; below, rounding decides the pose
MAX_RESIDUAL = 0.35  # eye distances: twice the worst of 2,185 frames of UADFV
DEPTHS = (0.2, 2.0)  # that `fit_depth` tries


class NoPoseError(ValueError):
    """There is no pose for these points; its text is a short reason that can be counted."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion: focal length and centre of the picture, in px."""

    focal: float
    centre: tuple[float, float]

    @classmethod
    def of(cls, size: Sequence[float], focal: float = 1.0) -> Camera:
        """The camera of a picture.

        Args:
            size: (w, h) in px.
            focal: focal length in widths of the picture: 1 for a full frame (Yang et al.), about 4 for a crop of a
                face.
        """
        return cls(focal * size[0], (size[0] / 2, size[1] / 2))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3)."""
        (x, y), f = self.centre, self.focal
        return np.array([[f, 0.0, x], [0.0, f, y], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class HeadPose:
    """From the head's coordinates (see `mean_face`) to the camera's: x right, y down, z forward.

    Attributes:
        rotation: (3, 3). translation: (3,) in eye distances.
        residual: root mean square distance of the projected points, in eye distances of the picture.
    """

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    residual: float

    @property
    def vector(self) -> NDArray[np.float64]:
        """(6,): rotation vector (axis times angle in radians), translation."""
        return np.concatenate([cv2.Rodrigues(self.rotation)[0][:, 0], self.translation])


@dataclass(frozen=True)
class PoseDifference:
    """The pose of the inner face and that of the whole face."""

    central: HeadPose
    whole: HeadPose

    @property
    def feature(self) -> NDArray[np.float64]:
        """(12,): R_c - R_a row by row, then t_c - t_a (Yang, Li and Lyu, section 3)."""
        rotation = self.central.rotation - self.whole.rotation
        return np.concatenate([rotation.ravel(), self.central.translation - self.whole.translation])

    @property
    def both_vectors(self) -> NDArray[np.float64]:
        """(12,): both poses as vectors, which the second paper classified without success."""
        return np.concatenate([self.central.vector, self.whole.vector])


def head_pose(
    points: NDArray[np.floating], camera: Camera, part: NDArray[np.integer] = WHOLE, depth: float = DEPTH
) -> HeadPose:
    """The pose of a head.

    Args:
        points: (68, 2) in px. part: indices of the points that are used. depth: see `mean_face`.

    Raises:
        NoPoseError: a point is missing (NaN), the points are those of no face, or no pose fits them.
    """
    if points.shape != (POINTS_68, 2) or not np.isfinite(points).all():
        raise NoPoseError("missing points")
    seen, model = np.ascontiguousarray(points[part], np.float64), mean_face(depth)[part]
    eyes = float(eye_distance(points))
    spread = np.linalg.svd(seen - seen.mean(axis=0), compute_uv=False) / np.sqrt(len(seen))
    if eyes < MIN_EYE_PX or spread[1] < 0.1 * spread[0]:
        raise NoPoseError("degenerate points")
    try:
        _, vector, place = cv2.solvePnP(
            model, seen, camera.matrix, None, *_guess(model, seen, camera), True, cv2.SOLVEPNP_ITERATIVE
        )
        projected = cv2.projectPoints(model, vector, place, camera.matrix, None)[0][:, 0]
        rotation = np.asarray(cv2.Rodrigues(vector)[0], np.float64)
    except cv2.error:
        raise NoPoseError("no solution") from None
    translation = np.asarray(place[:, 0], np.float64)
    residual = float(np.sqrt(((projected - seen) ** 2).sum(axis=1).mean())) / eyes
    if not (np.isfinite(residual) and np.isfinite(translation).all()):
        raise NoPoseError("no solution")
    if ((model @ rotation.T + translation)[:, 2] <= 0).any():
        raise NoPoseError("behind the camera")
    if residual > MAX_RESIDUAL:
        raise NoPoseError("unlike a face")
    return HeadPose(rotation, translation, residual)


def pose_difference(points: NDArray[np.floating], camera: Camera, depth: float = DEPTH) -> PoseDifference:
    """The poses of the inner face and of the whole face, from (68, 2) points in px.

    Raises:
        NoPoseError: one of them has none, see `head_pose`.
    """
    return PoseDifference(head_pose(points, camera, CENTRAL, depth), head_pose(points, camera, WHOLE, depth))


def fit_depth(
    faces: Sequence[NDArray[np.floating]], cameras: Sequence[Camera], part: NDArray[np.integer] = WHOLE
) -> float:
    """The depth of the mean head with which real faces in many poses have the smallest residuals, in `DEPTHS`.

    It needs turned heads: from the front, depth hardly shows. Faces without a pose at some depth do not count there.

    Args:
        faces: (68, 2) points in px each.
    """
    from scipy.optimize import minimize_scalar

    def mean_square(depth: float) -> float:
        residuals = []
        for points, camera in zip(faces, cameras, strict=True):
            try:
                residuals.append(head_pose(points, camera, part, depth).residual)
            except NoPoseError:
                residuals.append(MAX_RESIDUAL)
        return float(np.mean(np.square(residuals)))

    return float(minimize_scalar(mean_square, bounds=DEPTHS, method="bounded", options={"xatol": 1e-3}).x)


def _guess(
    model: NDArray[np.float64], seen: NDArray[np.float64], camera: Camera
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation vector and translation, (3, 1) each, of a head that looks at the camera: turned in the picture, moved
    and scaled by least squares so that it covers the points."""
    flat, target = model[:, :2] @ [1, 1j], seen @ [1, 1j]
    middle, centre = flat.mean(), target.mean()
    turn = np.vdot(flat - middle, target - centre) / np.sum(np.abs(flat - middle) ** 2)
    distance = camera.focal / max(abs(turn), 1e-9)
    angle = np.angle(turn)
    place = (centre - complex(*camera.centre)) / camera.focal * distance - middle * np.exp(1j * angle)
    translation = [place.real, place.imag, distance - model[:, 2].mean()]
    return np.array([[0.0], [0.0], [angle]]), np.array(translation)[:, None]

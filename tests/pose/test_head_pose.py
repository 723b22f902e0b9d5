"""Poses of heads that were projected with a pose that is known; and points that have none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mrigan.pose.head_pose import FEATURE, Camera, NoPoseError, fit_depth, head_pose, pose_difference
from mrigan.pose.mean_face import mean_face
from mrigan.pose.points import CENTRAL, MIRRORED, WHOLE
from tests.pose.heads import CAMERA, projected, turned

POSES = [(0, 0, 0), (35, 0, 0), (-60, 10, 0), (10, -25, 0), (5, 20, 40), (-20, 0, -75), (15, 5, 180)]
PLACES = [(0, 0, 12), (3, -2, 9), (-4, 1.5, 40)]


@pytest.mark.parametrize("part", [CENTRAL, WHOLE], ids=["central", "whole"])
@pytest.mark.parametrize("angles", POSES)
def test_a_known_pose_is_found(angles: tuple[float, float, float], part: np.ndarray) -> None:
    rotation = turned(*angles)
    for place in PLACES:
        pose = head_pose(projected(rotation, np.array(place)), CAMERA, part)
        np.testing.assert_allclose(pose.rotation, rotation, atol=1e-4)
        np.testing.assert_allclose(pose.translation, place, rtol=1e-4, atol=1e-4)
        assert pose.residual < 1e-5


def test_without_a_guess_heads_end_up_behind_the_camera() -> None:
    """Why there is one: OpenCV alone, on the same points, which have a pixel of noise."""
    rng = np.random.default_rng(0)
    camera = Camera.of((256, 256), 4.0)
    behind = 0
    for yaw in range(-30, 31, 5):
        points = projected(turned(yaw), np.array([0, 0.2, 17.0]), camera) + rng.normal(0, 1.0, (68, 2))
        assert head_pose(points, camera, CENTRAL).translation[2] == pytest.approx(17, rel=0.1)
        _, _, place = cv2.solvePnP(mean_face()[CENTRAL], points[CENTRAL], camera.matrix, None)
        behind += place[2, 0] < 0
    assert behind


def test_one_rigid_head_has_no_difference_and_a_pasted_face_has_the_one_it_was_pasted_with() -> None:
    place = np.array([0.5, 0, 11])
    whole, inner = projected(turned(10), place), projected(turned(18, 4), place)
    rigid = pose_difference(whole, CAMERA)
    assert rigid.feature.shape == (FEATURE,)
    assert np.abs(rigid.feature).max() < 1e-3
    pasted = whole.copy()
    pasted[CENTRAL] = inner[CENTRAL]
    feature = pose_difference(pasted, CAMERA).feature
    contour = np.setdiff1d(WHOLE, CENTRAL)
    assert len(contour) == 17
    apart = head_pose(pasted, CAMERA, WHOLE).rotation
    np.testing.assert_allclose(feature[:9], (turned(18, 4) - apart).ravel(), atol=1e-3)
    assert np.abs(feature[:9]).max() > 0.05


def test_a_mirrored_face_has_the_mirrored_pose() -> None:
    rng = np.random.default_rng(1)
    points = projected(turned(20, -8, 12), np.array([1, -0.5, 10])) + rng.normal(0, 2, (68, 2))
    mirrored = (points * [-1, 1] + [CAMERA.centre[0] * 2, 0])[MIRRORED]
    flip = np.diag([-1.0, 1, 1])
    for part in (CENTRAL, WHOLE):
        pose, other = head_pose(points, CAMERA, part), head_pose(mirrored, CAMERA, part)
        np.testing.assert_allclose(other.rotation, flip @ pose.rotation @ flip, atol=1e-3)
        np.testing.assert_allclose(other.translation, flip @ pose.translation, atol=1e-2)


def test_the_scale_of_the_picture_does_not_matter() -> None:
    points = projected(turned(20, -8), np.array([1, -0.5, 10])) + np.random.default_rng(2).normal(0, 2, (68, 2))
    small = Camera.of((320, 180))
    np.testing.assert_allclose(
        pose_difference(points / 4, small).feature, pose_difference(points, CAMERA).feature, atol=1e-3
    )


@pytest.mark.parametrize("depth", [0.5, 0.8, 1.3])
def test_the_depth_of_heads_shows_when_they_turn(depth: float) -> None:
    faces = [projected(turned(yaw, pitch), np.array([0, 0, 12.0]), depth=depth) for yaw, pitch in
             ((-40, 0), (-20, 10), (0, 0), (25, -10), (40, 5))]  # fmt: skip
    assert fit_depth(faces, [CAMERA] * len(faces)) == pytest.approx(depth, abs=0.01)


FACE = projected(turned(10), np.array([0, 0, 11.0]))


def _without(point: int) -> np.ndarray:
    points = FACE.copy()
    points[point] = np.nan
    return points


@pytest.mark.parametrize(
    ("points", "why"),
    [
        (_without(30), "missing points"),
        (_without(66), "missing points"),  # not used for a pose: a set of points is whole, or no answer
        (FACE[:67], "missing points"),
        (np.full((68, 2), np.inf), "missing points"),
        (np.full((68, 2), 100.0), "degenerate points"),
        (FACE * [1, 0] + [0, 300], "degenerate points"),  # all on a line
        (FACE / 200, "degenerate points"),  # a face of a few px
        (np.random.default_rng(0).uniform(0, 700, (68, 2)), "unlike a face"),
        (FACE[::-1], "unlike a face"),
    ],
)
def test_what_has_no_pose_gets_no_answer(points: np.ndarray, why: str) -> None:
    with pytest.raises(NoPoseError, match=why):
        pose_difference(points, CAMERA)

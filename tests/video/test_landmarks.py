"""Landmarks against points that were set by hand, and under what a picture may undergo."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mrigan.config import FacesConfig
from mrigan.sample.portraits import INDEX, Portrait, load_portraits
from mrigan.video import FaceDetector
from mrigan.video.faces import Detection
from mrigan.video.landmarks import MIN_PRESENCE, POINTS, FaceMesh, Landmarks

# Points of the mesh whose place has a name, and that name in the portraits' hand-set points.
NAMED = {33: "eye_l_out", 133: "eye_l_in", 362: "eye_r_in", 263: "eye_r_out", 4: "nose_tip", 61: "mouth_l",
         291: "mouth_r", 0: "lip_top", 17: "lip_low", 152: "chin", 105: "brow_l_mid", 334: "brow_r_mid"}  # fmt: skip


@pytest.fixture(scope="module")
def mesh(face_mesh: Path) -> FaceMesh:
    return FaceMesh()


@pytest.fixture(scope="module")
def portraits() -> list[tuple[Portrait, np.ndarray, Detection]]:
    detector = FaceDetector(FacesConfig())
    pictures = [(portrait, portrait.image.astype(np.uint8)) for portrait in load_portraits()]
    return [(portrait, image, detector.detect([image])[0][0]) for portrait, image in pictures]


def eye_distance(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[0] - points[1]))


def moved(image: np.ndarray, face: Detection, matrix: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Picture and box after an affine map (2, 3); the box keeps its shape."""
    h, w = image.shape[:2]
    scale = float(np.sqrt(np.linalg.det(matrix[:, :2])))
    out = cv2.warpAffine(image, matrix, (round(w * scale) + 100, round(h * scale) + 100), flags=cv2.INTER_AREA)
    x0, y0, x1, y1 = face.box
    centre = matrix[:, :2] @ [(x0 + x1) / 2, (y0 + y1) / 2] + matrix[:, 2]
    half = np.array([x1 - x0, y1 - y0]) * scale / 2
    return out, [*(centre - half), *(centre + half)]


def test_they_lie_where_a_person_sees_them(mesh: FaceMesh, portraits: list) -> None:
    for portrait, image, face in portraits:
        found = mesh(image, face.box)
        assert (found.points.shape, found.points.dtype, found.found) == ((POINTS, 3), np.float32, True)
        eyes = eye_distance(np.array(face.points))
        by_hand = portrait.points[[INDEX[name] for name in NAMED.values()]]
        apart = np.linalg.norm(found.points[list(NAMED), :2] - by_hand, axis=1) / eyes
        assert np.median(apart) < 0.06
        assert apart.max() < 0.2
        assert np.linalg.norm(found.five() - np.array(face.points), axis=1).max() / eyes < 0.12


def test_they_follow_the_face(mesh: FaceMesh, portraits: list) -> None:
    _, image, face = portraits[0]
    still = mesh(image, face.box)
    for degrees, scale, shift in ((0, 1, (37, 21)), (0, 0.5, (0, 0)), (25, 1, (60, 40)), (-40, 1, (60, 160))):
        matrix = cv2.getRotationMatrix2D((222.0, 120.0), degrees, scale)
        matrix[:, 2] += shift
        there = mesh(*moved(image, face, matrix))
        expected = still.points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        apart = np.linalg.norm(there.points[:, :2] - expected, axis=1) / (eye_distance(expected[[33, 263]]))
        assert np.median(apart) < 0.03, (degrees, scale)
        depth = np.ptp(there.points[:, 2]) / np.ptp(still.points[:, 2])
        assert depth == pytest.approx(scale, rel=0.15)


def test_the_nose_is_nearer_than_the_ears(mesh: FaceMesh, portraits: list) -> None:
    for _, image, face in portraits:
        z = mesh(image, face.box).points[:, 2]
        assert z[4] < z[[33, 263]].min() < z[[234, 454]].min()


def test_where_no_face_is_it_says_so(mesh: FaceMesh, portraits: list) -> None:
    _, image, face = portraits[0]
    noise = np.random.default_rng(0).integers(0, 256, image.shape, np.uint8)
    shoulder = [image.shape[1] - 140, image.shape[0] - 140, image.shape[1], image.shape[0]]
    for picture, box in ((np.zeros_like(image), face.box), (noise, face.box), (image, shoulder)):
        found: Landmarks = mesh(picture, box)
        assert found.presence < MIN_PRESENCE
        assert not found.found
        assert np.isfinite(found.points).all()

"""The 68 points of the mesh against points that were set by hand, MTCNN's points, and a mirror."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from mrigan.config import FacesConfig
from mrigan.pose.mean_face import mean_face
from mrigan.pose.points import (
    CENTRAL,
    LEFT_EYE,
    MESH_OF_68,
    MIRRORED,
    POINTS_68,
    RIGHT_EYE,
    WHOLE,
    eye_distance,
    points_68,
)
from mrigan.sample.portraits import load_portraits
from mrigan.video import FaceDetector
from mrigan.video.landmarks import FaceMesh

# Points of the Face Research Lab London Set's templates
CONTOUR = [109, 185, 110, 186, 111, *range(125, 134), 114, 188, 113, 187, 112]  # from temple to temple
BROWS = [71, 72, 73, 74, 75, 76, 84, 83, 71], [77, 78, 79, 80, 81, 82, 86, 85, 77]  # closed lines
MOUTH = {48: 87, 50: 89, 51: 90, 52: 91, 54: 93, 56: 107, 57: 106, 58: 105, 62: 96, 66: 101}
MAX_TEMPLATES = 12


def to_line(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """(N,) distances of (N, 2) points from a polyline (K, 2)."""
    start, end = line[:-1], line[1:]
    along = ((points[:, None] - start) * (end - start)).sum(axis=2) / ((end - start) ** 2).sum(axis=1)
    near = start + along.clip(0, 1)[..., None] * (end - start)
    return np.linalg.norm(points[:, None] - near, axis=2).min(axis=1)


def test_the_parts_are_those_of_the_paper() -> None:
    assert len(set(MESH_OF_68)) == POINTS_68
    assert (CENTRAL + 1).tolist() == [*range(18, 37), 49, 55]
    assert (WHOLE + 1).tolist() == [*range(1, 37), 49, 55]


def test_the_mean_face_is_a_face() -> None:
    face = mean_face()
    assert (MIRRORED[MIRRORED] == np.arange(POINTS_68)).all()
    np.testing.assert_allclose(face[MIRRORED] * [-1, 1, 1], face, atol=1e-9)
    assert eye_distance(face[:, :2]) == pytest.approx(1, abs=0.002)
    assert face[:, 1].argmax() == 8  # the chin is the lowest point
    assert face[:, 2].argmin() == 30  # the tip of the nose is the nearest one
    assert mean_face(0.5)[:, 2] == pytest.approx(face[:, 2] * 0.5 / 0.7)


def test_they_lie_where_people_set_them(shared_data: Path, face_mesh: Path) -> None:
    folder = shared_data / "faces-cc-by"
    by_hand: dict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    with (folder / "templates.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            by_hand[row["file"]][int(row["point"])] = float(row["x"]), float(row["y"])
    whole = [name for name in sorted(by_hand) if {0, 129} <= by_hand[name].keys() and (folder / name).is_file()]
    mesh, detector = FaceMesh(), FaceDetector(FacesConfig())
    contour, brows, mouth, five = [], [], [], []
    for name in whole[:: len(whole) // MAX_TEMPLATES]:
        image = cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)
        [face] = detector.detect([image])[0][:1]
        points, hand = points_68(mesh(image, face.box).points), by_hand[name]
        eyes = eye_distance(points)
        contour.append(to_line(points[:17], np.array([hand[i] for i in CONTOUR])) / eyes)
        for part, line in zip((slice(17, 22), slice(22, 27)), BROWS, strict=True):
            brows.append(to_line(points[part], np.array([hand[i] for i in line])) / eyes)
        mouth.append(np.linalg.norm(points[list(MOUTH)] - [hand[i] for i in MOUTH.values()], axis=1) / eyes)
        named = [points[LEFT_EYE].mean(axis=0), points[RIGHT_EYE].mean(axis=0), points[30], points[48], points[54]]
        five.append(np.linalg.norm(np.array(named) - face.points, axis=1) / eyes)
    assert len(contour) >= MAX_TEMPLATES
    assert np.median(contour, axis=0).max() < 0.06
    assert np.median(brows, axis=0).max() < 0.1
    assert np.median(mouth, axis=0).max() < 0.09
    assert np.median(five, axis=0).max() < 0.06


def test_they_mirror_with_the_picture(face_mesh: Path) -> None:
    mesh, detector = FaceMesh(), FaceDetector(FacesConfig())
    for portrait in load_portraits():
        image = portrait.image.astype(np.uint8)
        x0, y0, x1, y1 = detector.detect([image])[0][0].box
        width = image.shape[1]
        points = points_68(mesh(image, (x0, y0, x1, y1)).points)
        flipped = points_68(mesh(np.ascontiguousarray(image[:, ::-1]), (width - x1, y0, width - x0, y1)).points)
        apart = np.linalg.norm(flipped[MIRRORED] * [-1, 1] + [width, 0] - points, axis=1) / eye_distance(points)
        assert np.median(apart) < 0.05
        assert apart.max() < 0.15

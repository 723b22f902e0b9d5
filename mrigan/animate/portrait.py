"""A still with one face: its pixels, the face's box, the mesh of 468 points, and a smooth solid head made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from mrigan.config import FacesConfig
from mrigan.errors import InputError
from mrigan.video.faces import FaceDetector
from mrigan.video.landmarks import FaceMesh
from mrigan.video.stills import read_picture

OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
        148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
EARS = (234, 454)  # the mesh's points in front of them
CHIN = 152
MIN_FACE = 80  # px, of the detector's box
CELLS = 96  # of the grid on which the head's relief is known
REACH = 2.0  # the grid's half side, in widths of the face
STEEPEST = 2.2  # px of height over px: limits how far a turned head can compress a cheek


@dataclass(frozen=True)
class Portrait:
    """One face in a still.

    Args:
        image: (H, W, 3) uint8 RGB.
        mesh: (468, 3) float64: px, z smaller = nearer.
        box: (x0, y0, x1, y1) px, the detector's.
        relief: (CELLS, CELLS) float32, px towards the camera, 0 outside the head; over `centre` ± `REACH` · `width`.
    """

    image: np.ndarray
    mesh: np.ndarray
    box: tuple[float, float, float, float]
    relief: np.ndarray

    @property
    def width(self) -> float:
        """The face's width, ear to ear, in px."""
        left, right = self.mesh[list(EARS), :2]
        return float(np.hypot(*(right - left)))

    @property
    def centre(self) -> np.ndarray:
        """(2,) px: the middle of the face's outline."""
        oval = self.mesh[list(OVAL), :2]
        return (oval.min(0) + oval.max(0)) / 2


class PortraitReader:
    """Finds the face of a still; made once a process."""

    def __init__(self) -> None:
        self._detector, self._mesh = FaceDetector(FacesConfig()), FaceMesh()

    def __call__(self, path: Path) -> Portrait:
        """Read a still.

        Raises:
            InputError: no readable picture, no face or several, a small face, or a face without a mesh.
        """
        image, _ = read_picture(str(path))
        found = [face for face in self._detector.detect([image])[0] if face.prob > 0.9]
        if not found:
            raise InputError("no face found", where=path)
        found.sort(key=lambda face: face.area, reverse=True)
        if len(found) > 1 and found[1].area > found[0].area / 8:
            raise InputError(f"{len(found)} faces; a clip shows one person", where=path, fix="crop the picture")
        box = found[0].box
        if box[2] - box[0] < MIN_FACE:
            raise InputError(f"the face is {box[2] - box[0]:.0f} px wide, less than {MIN_FACE}", where=path)
        landmarks = self._mesh(image, box)
        if not landmarks.found:
            raise InputError("the face's landmarks were not found", where=path)
        mesh = landmarks.points.astype(np.float64)
        return Portrait(np.ascontiguousarray(image), mesh, box, _relief(mesh))


def _relief(mesh: np.ndarray) -> np.ndarray:
    """The head's height over the plane of the ears, (CELLS, CELLS) px, on a grid around the face.

    Inside the face it is the mesh's; beyond, it falls smoothly to 0 on an outline around hair, ears and throat, where a
    turned head meets what does not turn. It is smoothed until it is nowhere steeper than `STEEPEST`.
    """
    oval = mesh[list(OVAL), :2]
    centre, width = (oval.min(0) + oval.max(0)) / 2, np.hypot(*(mesh[EARS[1], :2] - mesh[EARS[0], :2]))
    level = mesh[list(EARS), 2].mean()
    away = oval - centre
    up = np.clip(-away[:, 1] / np.abs(away[:, 1]).max(), -1, 1)
    ring = centre + away * np.where(up > 0, 1.22 + 0.45 * up, 1.22 - 0.2 * up)[:, None]
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    far = centre + 1.9 * width * np.stack([np.cos(angles), np.sin(angles)], 1)
    places = np.vstack([mesh[:, :2], ring, far]) / width
    heights = np.concatenate([(level - mesh[:, 2]) / width, np.zeros(len(ring) + len(far))])
    side = np.linspace(-REACH, REACH, CELLS)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2) + centre / width
    spline = RBFInterpolator(places, heights, smoothing=1e-3, kernel="thin_plate_spline")
    relief = np.clip(spline(grid).reshape(CELLS, CELLS), 0, None)
    ys, xs = np.mgrid[-REACH : REACH : CELLS * 1j, -REACH : REACH : CELLS * 1j]
    relief *= np.clip((1.7 - np.hypot(xs, ys)) / 0.3, 0, 1)
    step = 2 * REACH / (CELLS - 1)
    for _ in range(20):
        if max(np.abs(part).max() for part in np.gradient(relief, step)) <= STEEPEST:
            break
        relief = cv2.GaussianBlur(relief, (0, 0), 1.0)
    return (relief * width).astype(np.float32)

"""How good the picture of a face is: what a detector cannot see, it should not be asked about."""

from __future__ import annotations

import cv2
import numpy as np

from mrigan.imaging.arrays import luma


def sharpness(face: np.ndarray) -> float:
    """Variance of the Laplacian (3 x 3) of the grey face, 0 = flat; Pech-Pacheco et al. (2000).

    Args:
        face: (S, S, 3) uint8 RGB, resized: comparable only between faces of one size and one way of resizing.
    """
    return float(cv2.Laplacian(luma(face), cv2.CV_64F).var())


def side(box: tuple[float, float, float, float]) -> float:
    """The width of a face's box, in px of its frame: what `face_px` of a shard's rows holds."""
    return box[2] - box[0]


def colour(face: np.ndarray) -> float:
    """How far the colours of a face spread beyond one line from dark to light, in levels of 0...255.

    The second largest standard deviation along the principal axes of its RGB values: 0 for grey, and for grey under one
    tint (sepia, night vision); some levels for any colour film of a face.

    Args:
        face: (S, S, 3) uint8 RGB.
    """
    pixels = face[::4, ::4].reshape(-1, 3).astype(np.float64)
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(np.cov(pixels.T))[1], 0, None)))

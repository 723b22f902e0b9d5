"""How good the picture of a face is: what a detector cannot see, it should not be asked about."""

from __future__ import annotations

import numpy as np


def sharpness(face: np.ndarray) -> float:
    """Variance of the Laplacian (3 x 3) of the grey face, 0 = flat; Pech-Pacheco et al. (2000).

    Args:
        face: (S, S, 3) uint8 RGB, resized: comparable only between faces of one size and one way of resizing.
    """
    import cv2

    return float(cv2.Laplacian(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def side(box: tuple[float, float, float, float]) -> float:
    """The width of a face's box, in px of its frame: what `face_px` of a shard's rows holds."""
    return box[2] - box[0]

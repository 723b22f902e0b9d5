"""The 68 points of a face (300-W's order), taken from the 468-point mesh, and the parts that a head pose is made of.

Left and right are those of the picture. Indices count from 0; the paper counts from 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

POINTS_68 = 68
MESH_OF_68 = np.array([
    # contour of the face: from the left temple down to the chin (152) and up to the right temple
    127, 234, 93, 132, 172, 136, 149, 176, 152, 400, 378, 365, 397, 361, 323, 454, 356,
    70, 63, 105, 66, 107,  # left brow, from its outer end
    336, 296, 334, 293, 300,  # right brow, from its inner end
    168, 197, 5, 4,  # bridge of the nose, down to the tip
    75, 97, 2, 326, 305,  # base of the nose, from left to right
    33, 160, 158, 133, 153, 144,  # left eye: outer corner, upper lid, inner corner, lower lid
    362, 385, 387, 263, 373, 380,  # right eye: inner corner, upper lid, outer corner, lower lid
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,  # outer lips, from the left corner over the upper lip
    78, 82, 13, 312, 308, 317, 14, 87,  # inner lips, likewise
])  # fmt: skip
# The point that each becomes when the picture is flipped left to right
MIRRORED = np.array([
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
])  # fmt: skip
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
MOUTH_CORNERS = (48, 54)
CENTRAL = np.array([*range(17, 36), *MOUTH_CORNERS])  # 21 points of the inner face: 18-36, 49, 55 in the paper
WHOLE = np.array([*range(36), *MOUTH_CORNERS])  # 38 points, with the contour: 1-36, 49, 55


def points_68(mesh: NDArray[np.floating]) -> NDArray[np.float64]:
    """The (..., 68, 2) points in a mesh (..., 468, 2 or 3), in its px."""
    return np.asarray(mesh[..., MESH_OF_68, :2], np.float64)


def eye_distance(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(...,) px between the centres of the eyes of (..., 68, 2) points."""
    eyes = points[..., LEFT_EYE, :].mean(axis=-2) - points[..., RIGHT_EYE, :].mean(axis=-2)
    return np.linalg.norm(eyes, axis=-1).astype(np.float64)

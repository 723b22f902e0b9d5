"""Where the 68 points lie on a mean head, in three dimensions.

The mean of the meshes of 126 adults with a neutral face, made symmetric (`benchmarks/head_pose.py --mean-face`). The
pictures: Face Research Lab London Set, and Young Adult White Faces with Manipulated Versions (DeBruine and Jones,
2017, figshare; CC BY 4.0).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# What the mesh's depth is multiplied by: it makes heads too deep. Fitted to the poses of real clips with `fit_depth`
DEPTH = 0.7

# Unit: the distance between the centres of the eyes. x to the right of the picture, y down, z away from the camera;
# the origin is the mean of the four points on the bridge of the nose.
_MEAN_FACE = np.array([
    # the contour of the face, from ear to ear
    (-1.080, -0.269, 1.311),
    (-1.064, -0.043, 1.401),
    (-1.046, 0.190, 1.426),
    (-1.010, 0.443, 1.404),
    (-0.847, 0.928, 1.190),
    (-0.738, 1.094, 1.026),
    (-0.476, 1.345, 0.791),
    (-0.346, 1.434, 0.682),
    (0.000, 1.518, 0.583),
    (0.346, 1.434, 0.682),
    (0.476, 1.345, 0.791),
    (0.738, 1.094, 1.026),
    (0.847, 0.928, 1.190),
    (1.010, 0.443, 1.404),
    (1.046, 0.190, 1.426),
    (1.064, -0.043, 1.401),
    (1.080, -0.269, 1.311),
    # the brow on the left of the picture, outside first
    (-0.894, -0.506, 0.524),
    (-0.796, -0.585, 0.384),
    (-0.640, -0.624, 0.275),
    (-0.442, -0.607, 0.183),
    (-0.222, -0.582, 0.137),
    # the brow on the right, inside first
    (0.222, -0.582, 0.137),
    (0.442, -0.607, 0.183),
    (0.640, -0.624, 0.275),
    (0.796, -0.585, 0.384),
    (0.894, -0.506, 0.524),
    # the bridge of the nose
    (0.000, -0.326, 0.178),
    (0.000, -0.091, 0.051),
    (0.000, 0.139, -0.103),
    (0.000, 0.278, -0.127),
    # its base
    (-0.197, 0.399, 0.217),
    (-0.113, 0.463, 0.188),
    (0.000, 0.467, 0.164),
    (0.113, 0.463, 0.188),
    (0.197, 0.399, 0.217),
    # the eye on the left
    (-0.704, -0.274, 0.530),
    (-0.594, -0.320, 0.418),
    (-0.434, -0.329, 0.389),
    (-0.274, -0.255, 0.449),
    (-0.416, -0.216, 0.420),
    (-0.578, -0.219, 0.448),
    # the eye on the right
    (0.274, -0.255, 0.449),
    (0.434, -0.329, 0.389),
    (0.594, -0.320, 0.418),
    (0.704, -0.274, 0.530),
    (0.578, -0.219, 0.448),
    (0.416, -0.216, 0.420),
    # the outer lips
    (-0.391, 0.787, 0.484),
    (-0.234, 0.704, 0.250),
    (-0.116, 0.678, 0.192),
    (0.000, 0.696, 0.181),
    (0.116, 0.678, 0.192),
    (0.234, 0.704, 0.250),
    (0.391, 0.787, 0.484),
    (0.212, 0.918, 0.317),
    (0.111, 0.952, 0.280),
    (0.000, 0.960, 0.273),
    (-0.111, 0.952, 0.280),
    (-0.212, 0.918, 0.317),
    # the inner lips
    (-0.340, 0.778, 0.453),
    (-0.089, 0.784, 0.289),
    (0.000, 0.788, 0.277),
    (0.089, 0.784, 0.289),
    (0.340, 0.778, 0.453),
    (0.092, 0.804, 0.294),
    (0.000, 0.807, 0.282),
    (-0.092, 0.804, 0.294),])  # fmt: skip


def mean_face(depth: float = DEPTH) -> NDArray[np.float64]:
    """The (68, 3) points.

    Args:
        depth: factor of z, see `DEPTH`.
    """
    return _MEAN_FACE * [1.0, 1.0, depth]

"""Heads whose pose is known: the mean head, turned, moved, and projected with NumPy alone."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mrigan.pose.head_pose import Camera
from mrigan.pose.mean_face import DEPTH, mean_face

CAMERA = Camera.of((1280, 720))


def turned(yaw: float = 0, pitch: float = 0, roll: float = 0) -> np.ndarray:
    """A rotation matrix, of degrees: about the vertical, about the ears, in the picture."""
    return Rotation.from_euler("zxy", [roll, pitch, yaw], degrees=True).as_matrix()


def projected(
    rotation: np.ndarray, translation: np.ndarray, camera: Camera = CAMERA, depth: float = DEPTH
) -> np.ndarray:
    """(68, 2) px of the mean head."""
    x, y, z = (mean_face(depth) @ rotation.T + translation).T
    return camera.focal * np.stack([x / z, y / z], axis=1) + camera.centre

"""Pairs of pictures on which perceptual functions are compared with their oracles."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates, zoom
from skimage.data import astronaut
from torch import Tensor


def face_pair(height: int = 96, width: int = 96, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A face, and the same with noise and a blurred patch: (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    crop = astronaut()[0:200, 130:330]
    face = zoom(crop, (height / 200, width / 200, 1), order=1)
    fake = face + rng.normal(0, 4, face.shape)
    part = slice(height // 4, height // 2 + 1)
    fake[part] = gaussian_filter(fake, (2, 2, 0))[part] + 12
    return face, np.clip(fake, 0, 255).astype(np.uint8)


def tensor(picture: np.ndarray) -> Tensor:
    """(H, W, 3) → (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]


def grow(small: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation between pixel centres, written with scipy: (h, w) → (height, width)."""
    rows = (np.arange(height) + 0.5) * small.shape[0] / height - 0.5
    columns = (np.arange(width) + 0.5) * small.shape[1] / width - 0.5
    return map_coordinates(small, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")


def halve(x: np.ndarray) -> np.ndarray:
    """Means over 2 x 2 px; of fewer at an odd edge."""
    padded = np.pad(x, [(0, x.shape[0] % 2), (0, x.shape[1] % 2)], constant_values=np.nan)
    return np.nanmean(padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2), axis=(1, 3))

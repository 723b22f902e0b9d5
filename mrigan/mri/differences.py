"""Plain pixel differences as perceptual functions: L1 and L2."""

from __future__ import annotations

from torch import Tensor

from mrigan.mri.gaussian import as_float


def l1_mri(original: Tensor, face: Tensor) -> Tensor:
    """|a - b|, (N, 3, H, W) in 0...255."""
    return (as_float(original) - as_float(face)).abs()


def l2_mri(original: Tensor, face: Tensor) -> Tensor:
    """(a - b)**2 / 255, (N, 3, H, W) in 0...255."""
    return (as_float(original) - as_float(face)).square() / 255

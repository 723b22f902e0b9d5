"""The names of the perceptual functions. This module does not import torch: a shard plan needs only the names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Name → function (original, face, **options) → MRI in 0...255 (0 = equal), not yet clipped; or "module.function" of the
# package. Both pictures are (N, 3, H, W), uint8 or float. To add a metric: a file with such a function, a line here, an
# oracle in the tests.
METRICS: dict[str, str | Callable[..., Any]] = {
    "ssim": "ssim.ssim_mri",
    "ms-ssim": "ms_ssim.ms_ssim_mri",
    "l1": "differences.l1_mri",
    "l2": "differences.l2_mri",
    "gmsd": "gmsd.gmsd_mri",
    "lpips": "lpips.lpips_mri",
    "dists": "dists.dists_mri",
}
LEARNED = frozenset({"lpips", "dists"})  # they need a weight file

"""The MRI image (MRI-GAN, section 4.3): a perceptual function f of an original face and a related face.

`import mrigan.mri` does not import torch; its functions do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mrigan.mri.metrics import LEARNED, METRICS

if TYPE_CHECKING:
    from mrigan.mri.image import mri_image, stored_mri
    from mrigan.mri.ssim import ssim_index

__all__ = ["LEARNED", "METRICS", "mri_image", "ssim_index", "stored_mri"]


def __getattr__(name: str) -> Any:
    if name in ("mri_image", "stored_mri"):
        from mrigan.mri import image

        return getattr(image, name)
    if name == "ssim_index":
        from mrigan.mri.ssim import ssim_index

        return ssim_index
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

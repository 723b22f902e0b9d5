"""The MRI image (MRI-GAN, section 4.3): a perceptual function f of an original face and a related one, by name."""

from mrigan.mri.image import METRICS, mri_image
from mrigan.mri.ssim import ssim_index

__all__ = ["METRICS", "mri_image", "ssim_index"]

from .image import mri_image as mri_image
from .image import stored_mri as stored_mri
from .metrics import LEARNED as LEARNED
from .metrics import METRICS as METRICS
from .ssim import ssim_index as ssim_index

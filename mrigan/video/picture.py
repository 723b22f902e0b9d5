"""What a frame's pixels are: a NumPy array on the CPU, or a torch tensor on a device.

Both are (H, W, 3) uint8 RGB, and both are sliced alike, so most code need not know which it has. What must is written
twice: with OpenCV and NumPy here, with torch in `mrigan.video.device`, and tested against each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Picture = Any  # np.ndarray | torch.Tensor; torch is imported only where there is a tensor


def is_array(image: Picture) -> bool:
    """Whether the pixels are NumPy's, on the CPU."""
    return isinstance(image, np.ndarray)


def to_host(image: Picture) -> np.ndarray:
    """The pixels as a NumPy array, copied from the device where they lie there."""
    return image if isinstance(image, np.ndarray) else np.ascontiguousarray(image.cpu().numpy())

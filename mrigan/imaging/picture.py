"""What a frame's pixels are: a NumPy array on the CPU, or a torch tensor on a device.

Both are (H, W, 3) uint8 RGB, and both are sliced alike, so most code need not know which it has. What must is written
twice: with OpenCV and NumPy here, with torch in `mrigan.imaging.device`, and tested against each other.
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


def to_device(image: np.ndarray, device: str) -> Picture:
    """A decoded picture as a tensor on `device`."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(image)).to(device)


def grey(image: Picture) -> np.ndarray:
    """(h, w, 3) uint8 RGB → (h, w) uint8 luma (BT.601), on the CPU wherever the picture lies."""
    if not is_array(image):
        from mrigan.imaging.device import pictures

        return pictures.grey(image)
    import cv2

    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def scale_to(image: Picture, size: tuple[int, int]) -> Picture:
    """Area-scale a picture to (w, h): means when both sides shrink, else bilinear (OpenCV's INTER_AREA)."""
    if not is_array(image):
        from mrigan.imaging.device.pictures import batched, resized, single

        return single(resized(batched(image), size))
    import cv2

    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

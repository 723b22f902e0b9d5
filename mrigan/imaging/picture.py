"""What a picture is: a NumPy array on the CPU, or a torch tensor on a device; and who works on which.

A frame is (H, W, 3) uint8 RGB, array or tensor, and both are sliced alike, so most code need not know which it has. On
a device the pixel operations take *planes*, (N, 3, H, W) or (3, H, W); `on_frame` converts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mrigan.imaging import arrays

Picture = Any  # np.ndarray | torch.Tensor; torch is imported only where there is a tensor


def is_array(image: Picture) -> bool:
    """Whether the pixels are NumPy's, on the CPU."""
    return isinstance(image, np.ndarray)


def operations(picture: Picture) -> Any:
    """The module with the pixel operations for this kind of picture: `arrays`, or `planes`.

    Both have the same functions, with the same parameters (tests/imaging/test_operations.py compares them). This is the
    one place that chooses.
    """
    if is_array(picture):
        return arrays
    from mrigan.imaging import planes  # imports torch

    return planes


def on_frame(frame: Picture, operation: Callable[[Picture], Picture]) -> Picture:
    """`operation`, which takes an array or planes, on an (H, W, 3) frame of either kind."""
    if is_array(frame):
        return operation(frame)
    return operation(to_planes(frame))[0].permute(1, 2, 0).contiguous()


def to_planes(frame: Picture) -> Picture:
    """An (H, W, 3) tensor as (1, 3, H, W), a view."""
    return frame.permute(2, 0, 1)[None]


def to_host(image: Picture) -> np.ndarray:
    """The pixels as a NumPy array, copied from the device where they lie there."""
    return image if isinstance(image, np.ndarray) else np.ascontiguousarray(image.cpu().numpy())


def to_device(image: np.ndarray, device: str) -> Picture:
    """An array as a tensor on `device`."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(image)).to(device)


def grey(frame: Picture) -> np.ndarray:
    """(H, W, 3) uint8 RGB → (H, W) uint8 luma (BT.601), on the CPU wherever the frame lies; the same values there.

    A third of a frame's bytes is what is copied from a device.
    """
    if is_array(frame):
        return arrays.luma(frame)
    return to_host(operations(frame).luma(to_planes(frame))[0])


def scale_to(frame: Picture, size: tuple[int, int]) -> Picture:
    """Area-scale a frame to (width, height): means where both sides shrink, else bilinear (OpenCV's INTER_AREA)."""
    return on_frame(frame, lambda picture: operations(picture).resize(picture, size))

"""Resizing and grey values of pictures on a device, as OpenCV computes them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

LUMA, SHIFT = (9798, 19235, 3735), 15  # BT.601 as OpenCV's fixed point has it


def batched(image: Tensor) -> Tensor:
    """(H, W, 3) → (1, 3, H, W), a view."""
    return image.permute(2, 0, 1)[None]


def single(images: Tensor) -> Tensor:
    """(1, 3, H, W) → (H, W, 3), contiguous."""
    return images[0].permute(1, 2, 0).contiguous()


def to_uint8(values: Tensor) -> Tensor:
    """Rounded (halves to even, as OpenCV does) and clipped."""
    return values.round().clamp(0, 255).to(torch.uint8)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring pictures to (width, height) by OpenCV's INTER_AREA: means when shrinking both sides, else bilinear.

    Args:
        images: (N, 3, H, W) uint8.

    Returns:
        (N, 3, height, width) uint8, within one grey level of OpenCV's.
    """
    (h, w), (new_w, new_h) = images.shape[-2:], size
    if (w, h) == (new_w, new_h):
        return images
    shrinks = w >= new_w and h >= new_h
    rows, columns = (_weights(old, new, shrinks, str(images.device)) for old, new in ((h, new_h), (w, new_w)))
    # The smaller product first
    narrow = images.float() @ columns.T if new_w < w else rows @ images.float()
    return to_uint8(rows @ narrow if new_w < w else narrow @ columns.T)


def grey(image: Tensor) -> np.ndarray:
    """(H, W, 3) uint8 RGB on a device → (H, W) uint8 luma on the CPU, the very values of OpenCV.

    Alignment looks at grey values alone, so a third of the frame's bytes is what it costs.
    """
    red, green, blue = (image[..., k].to(torch.int32) * factor for k, factor in enumerate(LUMA))
    luma: np.ndarray = ((red + green + blue + (1 << SHIFT >> 1)) >> SHIFT).to(torch.uint8).cpu().numpy()
    return luma


@lru_cache(maxsize=64)
def _weights(old: int, new: int, shrinks: bool, device: str) -> Tensor:
    """(new, old) float32: what each source pixel gives to each new one."""
    inverse = new / old
    scale = 1 / inverse  # as OpenCV computes it: its last bit decides where a pixel's edge falls
    places = np.arange(new)[:, None]
    if shrinks:
        starts, ends = np.arange(old)[None], np.arange(old)[None] + 1
        overlap = np.minimum((places + 1) * scale, ends) - np.maximum(places * scale, starts)
        weights = np.clip(overlap, 0, 1)
        weights /= weights.sum(axis=1, keepdims=True)
    else:
        first = np.floor(places * scale)
        part = (places + 1) - (first + 1) * inverse
        part = np.where(part <= 0, 0, part - np.floor(part))
        first = np.minimum(first, old - 1)
        column = np.arange(old)[None]
        weights = (column == first) * (1 - part) + (column == np.minimum(first + 1, old - 1)) * part
    return torch.from_numpy(weights.astype(np.float32)).to(device)

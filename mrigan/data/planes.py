"""Pictures as planes on any device: what the CPU does picture by picture with OpenCV, batch by batch with torch."""

from __future__ import annotations

from functools import lru_cache

import torch


def resize_planes(pictures: torch.Tensor, size: int) -> torch.Tensor:
    """(N, 3, H, W) uint8 at (N, 3, size, size): area where it shrinks, linear where it grows, as `decode.resize` does.

    Within 1 of OpenCV, whose weights are rounded.
    """
    height, width = pictures.shape[-2:]
    if height == width == size:
        return pictures
    area = height >= size and width >= size
    down, across = (_weights(side, size, area).to(pictures.device, non_blocking=True) for side in (height, width))
    return (down @ pictures.float() @ across.T).round_().clamp_(0, 255).to(torch.uint8)


@lru_cache(maxsize=8)
def _weights(source: int, target: int, area: bool) -> torch.Tensor:
    """(target, source) float32: how much of each source pixel is in each target pixel."""
    scale = source / target
    place = torch.arange(source, dtype=torch.float64)
    start = torch.arange(target, dtype=torch.float64)[:, None] * scale
    if area:
        overlap = torch.minimum(place + 1, start + scale) - torch.maximum(place, start)
        return (overlap.clamp(min=0) / scale).float()
    centre = (start + scale / 2 - 0.5).clamp(0, source - 1)
    return (1 - (place - centre).abs()).clamp(min=0).float()

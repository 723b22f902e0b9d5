"""Averages over areas of pictures, for MTCNN's networks: a pyramid's levels and candidates' crops, from one table.

A summed-area table gives the sum over any rectangle by four of its entries. The sums are exact integers, so a CPU and a
GPU find the same averages.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

SCALE = 0.0078125  # the networks want pictures as (x - 127.5) · this


class OutsideError(Exception):
    """A candidate was moved wholly out of the picture: MTCNN's rules do not say what becomes of it."""


def summed(images: Tensor) -> Tensor:
    """Summed-area tables (N, H + 1, W + 1, C) int32 of pictures (N, H, W, 3) uint8.

    On a GPU C is 3. On a CPU it is 4: NumPy copies 16 bytes three times as fast as 12. They may run over; differences
    of two entries are right all the same, up to 8.4 megapixels between them.
    """
    n, height, width, _ = images.shape
    if images.device.type == "cpu":
        table = torch.empty(n, height + 1, width + 1, 4, dtype=torch.int32)
        for image, page in zip(images.numpy(), table.numpy(), strict=True):
            cv2.integral(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), sum=page)
        return table
    table = images.new_zeros((n, height + 1, width + 1, 3), dtype=torch.int32)
    table[:, 1:, 1:] = images.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
    return table


def averages(table: Tensor, height: int, width: int, short: np.ndarray | None = None) -> Tensor:
    """The pictures brought to (N, 3, height, width) by torch's `area` interpolation, as the networks want them.

    Args:
        short: the table modulo 2^16, which has room for the sums of small areas, at half the bytes.
    """
    (top, bottom), (left, right), scale = _bins(table.shape[1] - 1, table.shape[2] - 1, height, width, table.device)
    if table.device.type != "cpu":
        rows = table.index_select(1, bottom).sub_(table.index_select(1, top))
        return _normal(rows.index_select(2, right).sub_(rows.index_select(2, left)), scale)
    largest = int((bottom - top).max() * (right - left).max())
    pages = table.numpy() if short is None or 255 * largest >= 2**16 else short
    near, far = (top.numpy(), left.numpy()), (bottom.numpy(), right.numpy())
    out = np.empty((len(table), height, width, 3), np.float32)
    for page, average in zip(pages, out, strict=True):  # one by one they stay in a core's cache
        rows = page.take(far[0], 0)
        rows -= page.take(near[0], 0)
        sums = rows.take(far[1], 1)
        sums -= rows.take(near[1], 1)
        _normal_on_cpu(sums, scale.numpy(), average)
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def crops(table: Tensor, boxes: Tensor, owner: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """The pictures in the boxes, clipped to the pictures' `size` (w, h), brought to (n, 3, side, side).

    Raises:
        OutsideError: nothing is left of a box.
    """
    corners = boxes[:, :4].trunc().long()  # counted from 1, the last one included
    near = corners[:, :2].clamp_min(1) - 1
    far = torch.minimum(corners[:, 2:], corners.new_tensor(size))
    extent = far - near
    if bool((extent <= 0).any()):
        raise OutsideError
    steps = torch.arange(side, device=table.device)
    start = near[:, None] + steps[:, None] * extent[:, None] // side  # (n, side, 2)
    end = near[:, None] - (-(steps[:, None] + 1) * extent[:, None]).div(side, rounding_mode="floor")
    pitch = table.shape[2]
    page = (owner * table.shape[1])[:, None]
    flat = table.flatten(0, 2)

    def corner(x: Tensor, y: Tensor) -> Tensor:
        at = ((page + y) * pitch)[:, :, None] + x[:, None]
        return _taken(flat, at.flatten(), 0).view(*at.shape, -1)

    (x0, y0), (x1, y1) = start.unbind(2), end.unbind(2)
    sums = corner(x1, y1).sub_(corner(x1, y0)).sub_(corner(x0, y1)).add_(corner(x0, y0))
    scale = SCALE / ((y1 - y0)[:, :, None, None] * (x1 - x0)[:, None, :, None])
    if table.device.type != "cpu":
        return _normal(sums, scale)
    out = np.empty((len(boxes), side, side, 3), np.float32)
    for each, factor, picture in zip(sums.numpy(), scale.expand(-1, -1, -1, 3).numpy(), out, strict=True):
        _normal_on_cpu(each, factor, picture)
    return torch.from_numpy(out).permute(0, 3, 1, 2)


@lru_cache(maxsize=64)
def _bins(
    height: int, width: int, rows: int, columns: int, device: torch.device
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
    """Where each of `rows` and `columns` begins and ends in px (they overlap, as torch's do), and `SCALE` / area."""

    def bounds(source: int, target: int) -> tuple[Tensor, Tensor]:
        i = torch.arange(target, device=device)
        return i * source // target, ((i + 1) * source + target - 1) // target

    (top, bottom), (left, right) = bounds(height, rows), bounds(width, columns)
    scale = SCALE / ((bottom - top)[:, None, None] * (right - left)[:, None])
    return (top, bottom), (left, right), scale.expand(-1, -1, 3).contiguous()


def _taken(x: Tensor, index: Tensor, dim: int) -> Tensor:
    """`x.index_select(dim, index)`, on a CPU by NumPy, which is 2 to 5 times as fast at it."""
    if x.device.type != "cpu":
        return x.index_select(dim, index)
    return torch.from_numpy(x.numpy().take(index.numpy(), dim))


def _normal(sums: Tensor, scale: Tensor) -> Tensor:
    """Sums over areas (N, h, w, 3), times `SCALE` / area → averages (N, 3, h, w) around 0, channels last."""
    return sums.to(torch.float32).mul_(scale).sub_(127.5 * SCALE).permute(0, 3, 1, 2)


def _normal_on_cpu(sums: np.ndarray, scale: np.ndarray, out: np.ndarray) -> None:
    """`_normal` of one picture's sums (h, w, 4), the fourth left out, into `out` (h, w, 3) float32."""
    cv2.cvtColor(sums.astype(np.float32), cv2.COLOR_RGBA2RGB, dst=out)
    out *= scale
    out -= np.float32(127.5 * SCALE)

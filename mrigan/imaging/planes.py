"""The pixel operations on planes, (N, 3, H, W) or (3, H, W) uint8 RGB tensors, on any device. `arrays` has the same for
NumPy, and says what each does.

A picture made here differs from OpenCV's by one grey level at most, by two (one pixel in a thousand: by up to eight)
where a text's edge is smooth (tests/imaging). What a training loader uses (all up to `fill`) never waits for the
device. A GPU's own arithmetic has not been measured: see docs/results.md.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, pad

from mrigan.imaging.arrays import LEVELS, LUMA, Ink, Make, Region
from mrigan.imaging.coordinates import Size, rotation_matrix

FIXED_LUMA, SHIFT = (9798, 19235, 3735), 15  # BT.601 as OpenCV's fixed point has it
BORDERS = {"mirror": "reflect", "repeat": "replicate"}
EDGE = 2  # px around a thing that its smooth edges may reach


def size(images: Tensor) -> Size:
    """(width, height) in px."""
    return images.shape[-1], images.shape[-2]


def device(images: Tensor) -> str:
    """Where the pixels are."""
    return str(images.device)


def resize(images: Tensor, to: Size, enlarge: str = "area") -> Tensor:
    """To (width, height), by area or bilinear."""
    (w, h), (new_w, new_h) = size(images), to
    if (w, h) == to:
        return images
    shrinks = w >= new_w and h >= new_h
    if enlarge == "linear" and not shrinks:
        flat = images.reshape(-1, 3, h, w).float()
        return _to_uint8(interpolate(flat, (new_h, new_w), mode="bilinear")).view(*images.shape[:-2], new_h, new_w)
    rows, columns = (_weights(old, new, shrinks, str(images.device)) for old, new in ((h, new_h), (w, new_w)))
    # The smaller product first
    narrow = images.float() @ columns.T if new_w < w else rows @ images.float()
    return _to_uint8(rows @ narrow if new_w < w else narrow @ columns.T)


@lru_cache(maxsize=64)
def _weights(old: int, new: int, shrinks: bool, device: str) -> Tensor:
    """(new, old) float32: what each source pixel gives to each new one."""
    inverse = new / old
    scale = 1 / inverse  # as OpenCV computes it: its last bit decides where a pixel's edge falls
    places, column = np.arange(new)[:, None], np.arange(old)[None]
    if shrinks:
        overlap = np.minimum((places + 1) * scale, column + 1) - np.maximum(places * scale, column)
        weights = np.clip(overlap, 0, 1)
        weights /= weights.sum(axis=1, keepdims=True)
    else:
        first = np.floor(places * scale)
        part = (places + 1) - (first + 1) * inverse
        part = np.where(part <= 0, 0, part - np.floor(part))
        first = np.minimum(first, old - 1)
        weights = (column == first) * (1 - part) + (column == np.minimum(first + 1, old - 1)) * part
    return torch.from_numpy(weights.astype(np.float32)).to(device)


def window(images: Tensor, left: int, top: int, of: Size) -> Tensor:
    """A part, black beyond the border."""
    width, height = of
    out = images.new_zeros((*images.shape[:-2], height, width))
    part = images[..., max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    down, right = max(-top, 0), max(-left, 0)
    out[..., down : down + part.shape[-2], right : right + part.shape[-1]] = part
    return out


def flip(images: Tensor) -> Tensor:
    """Mirrored left and right."""
    return images.flip(-1)


def rotate(images: Tensor, degrees: float, *, exact: bool = True) -> Tensor:
    """Turned about the centre. Exact: from places rounded to 1/32 px as on the CPU; else from the places themselves."""
    width, height = size(images)
    # Of pixel centres, in double precision: float32 would be off by a thousandth of a pixel in a wide frame
    column = torch.arange(width, dtype=torch.float64, device=images.device) + 0.5
    row = torch.arange(height, dtype=torch.float64, device=images.device)[:, None] + 0.5
    x, y = (a * column + b * row + c for a, b, c in rotation_matrix((width, height), -degrees)[:2].tolist())
    if exact:
        x, y = (((place - 0.5) * 32).round() / 32 + 0.5 for place in (x, y))
    grid = torch.stack([x * (2 / width) - 1, y * (2 / height) - 1], dim=-1).float()[None]
    flat = images.reshape(-1, 3, height, width)
    at = grid.expand(len(flat), -1, -1, -1)
    return _to_uint8(grid_sample(flat.float(), at, align_corners=False)).view(images.shape)


def blur(images: Tensor, side: int, border: str = "mirror") -> Tensor:
    """The mean over a box."""
    before, after = side // 2, side - 1 - side // 2
    wide = pad(images.float(), (before, after, before, after), mode=BORDERS[border])
    return _to_uint8(avg_pool2d(wide, side, stride=1, divisor_override=1) / side**2)  # sums are exact integers


def linear(images: Tensor, factor: float, shift: float | Tensor) -> Tensor:
    """factor · x + shift; `shift` may be a scalar on the device (`mean_luma`)."""
    return _to_uint8(images.float() * factor + shift)


def luma(images: Tensor) -> Tensor:
    """(N, H, W) or (H, W) uint8, the very values of OpenCV."""
    red, green, blue = (images[..., k, :, :].to(torch.int32) * factor for k, factor in enumerate(FIXED_LUMA))
    return ((red + green + blue + (1 << SHIFT >> 1)) >> SHIFT).to(torch.uint8)


def without_colour(images: Tensor) -> Tensor:
    """The luma in all three channels."""
    return luma(images).unsqueeze(-3).expand(images.shape)


def mean_luma(images: Tensor) -> Tensor:
    """The luma of the mean colour of a (3, H, W) picture, a scalar on the device."""
    red, green, blue = images.float().mean(dim=(1, 2))
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def fill(images: Tensor, region: Region, colour: tuple[int, int, int]) -> Tensor:
    """One colour in a region."""
    images = images.clone()
    for channel, value in enumerate(colour):  # a tensor of the colour would wait for the device
        images[(..., channel, *region)] = value
    return images


def paint(images: Tensor, at: tuple[int, int], ink: Ink) -> Tensor:
    """`ink`, drawn once on the CPU and blended here: what costs is the frame, which stays where it is."""
    x, y, (w, h) = at[0] - EDGE, at[1] - EDGE, (ink.size[0] + 2 * EDGE, ink.size[1] + 2 * EDGE)
    width, height = size(images)
    # OpenCV clips strokes at the frame's border
    visible = max(-x, 0), max(-y, 0), min(w, width - x), min(h, height - y)
    if visible[2] <= visible[0] or visible[3] <= visible[1]:
        return images
    dark, gain = _blend(ink, visible, str(images.device))
    images = images.clone()
    under = images[..., y + visible[1] : y + visible[3], x + visible[0] : x + visible[2]]
    under.copy_(_to_uint8(dark + gain * under))
    return images


@lru_cache(maxsize=32)
def _blend(ink: Ink, visible: tuple[int, int, int, int], device: str) -> tuple[Tensor, Tensor]:
    """What `ink` makes of a pixel x: first + second · x, (3, h, w) float32 each.

    Found by drawing it over black and over white. OpenCV blends a smooth edge in steps of whole grey levels, so between
    the two it may differ from this line by some.

    Args:
        visible: (x0, y0, x1, y1), the part to be drawn, in px of the thing's box with `EDGE` px around it.
    """
    boards = (np.full((visible[3] - visible[1], visible[2] - visible[0], 3), ground, np.uint8) for ground in (0, 255))
    drawn = (ink.draw(board, (EDGE - visible[0], EDGE - visible[1])) for board in boards)
    dark, light = (torch.from_numpy(board).to(device).permute(2, 0, 1).float() for board in drawn)
    return dark, (light - dark) / 255


def placed(field: np.ndarray, device: str) -> Tensor:
    """An (H, W, 3) uint16 field as (1, 3, H, W) int32 on the device; 16 bits a value travel.

    A field that a device drew by itself would be another one, and sets built on GPUs could not be made again elsewhere.
    """
    half = torch.from_numpy(field.view(np.int16)).to(device)
    return (half.to(torch.int32) & (LEVELS - 1)).permute(2, 0, 1)[None]


def add(images: Tensor, field: Tensor, make: Make, setting: float) -> Tensor:
    """x + table[field]."""
    return (images.to(torch.int16) + _table(make, setting, str(images.device))[field]).clamp_(0, 255).to(torch.uint8)


def multiply(images: Tensor, field: Tensor, make: Make, setting: float) -> Tensor:
    """x · table[field]."""
    return _to_uint8(images * _table(make, setting, str(images.device))[field])


def replace(images: Tensor, field: Tensor, make: Make, setting: int) -> Tensor:
    """table[x, field]."""
    return _table(make, setting, str(images.device))[images.to(torch.int32) * LEVELS + field]


def bleach(images: Tensor, field: Tensor, white: int, black: int) -> Tensor:
    """255 where the field is below `white`, else 0 where it is below `black`."""
    whitened = field < white
    return images.masked_fill(field < black, 0).masked_fill_(whitened.expand_as(images), 255)


@lru_cache(maxsize=8)
def _table(make: Make, setting: float, device: str) -> Tensor:
    return torch.from_numpy(make(setting)).to(device)


def _to_uint8(values: Tensor) -> Tensor:
    """Rounded (halves to even, as OpenCV does) and clipped."""
    return values.round().clamp(0, 255).to(torch.uint8)

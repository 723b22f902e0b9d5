"""The six augmentations of `mrigan.imaging.augmentation` on a device. (N, 3, H, W) uint8 → the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, pad

from mrigan.imaging.augmentation import brightness_table, contrast_table, rotation_matrix
from mrigan.imaging.device.pictures import resized, to_uint8


def blur(images: Tensor, size: int) -> Tensor:
    """Box blur of `size` × `size` px; beyond its border a picture is mirrored about its outermost pixels."""
    before, after = size // 2, size - 1 - size // 2
    wide = pad(images.float(), (before, after, before, after), mode="reflect")
    return to_uint8(avg_pool2d(wide, size, stride=1, divisor_override=1) / size**2)  # sums are exact integers


def contrast(images: Tensor, value: float) -> Tensor:
    """f·x + 127·(1 − f) with f = 131·(c + 127) / (127·(131 − c))."""
    return _mapped(images, contrast_table(value))


def brightness(images: Tensor, value: float) -> Tensor:
    """x·(255 − b)/255 + b for b > 0, x·(255 + b)/255 for b < 0."""
    return _mapped(images, brightness_table(value))


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Rotate about the centre, counter-clockwise, bilinear; corners that come in are black."""
    h, w = images.shape[-2:]
    back = torch.from_numpy(rotation_matrix((w, h), -degrees)[:2]).to(images.device)
    # Of pixel centres, in double precision: float32 would be off by a thousandth of a pixel in a wide frame
    x, y = (torch.arange(n, dtype=torch.float64, device=images.device) + 0.5 for n in (w, h))
    places = back[:, 0] * x[None, :, None] + back[:, 1] * y[:, None, None] + back[:, 2]
    places = ((places - 0.5) * 32).round() / 32 + 0.5  # as on the CPU
    grid = (places * (2 / torch.tensor([w, h], dtype=torch.float64, device=images.device)) - 1).float()
    turned = grid_sample(images.float(), grid[None].expand(len(images), -1, -1, -1), align_corners=False)
    return to_uint8(turned)


def flip(images: Tensor) -> Tensor:
    """Mirror left and right."""
    return images.flip(-1)


def rescale(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize to (width, height), by area."""
    return resized(images, (int(size[0]), int(size[1])))


AUGMENTATIONS: dict[str, Callable[..., Tensor]] = {
    "blur": blur,
    "contrast": contrast,
    "brightness": brightness,
    "rotation": rotate,
    "flip": flip,
    "rescale": rescale,
}


def _mapped(images: Tensor, table: np.ndarray) -> Tensor:
    return torch.from_numpy(table).to(images.device)[images.to(torch.int32)]

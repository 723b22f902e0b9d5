"""The distractions of `mrigan.imaging.distraction` on a device: drawn once on the CPU, and blended there.

OpenCV draws a text in less time than a GPU is told to; what costs is the frame, which stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mrigan.imaging.device.pictures import to_uint8
from mrigan.imaging.distraction import Size, draw_text, fill_shape, place, thing_size

EDGE = 2  # px around a thing that its smooth edges may reach


def distract(
    images: Tensor,
    name: str,
    rng: np.random.Generator | None = None,
    frame: int = 0,
    *,
    start: Sequence[float] = (0.5, 0.5),
    direction: str = "right",
    fraction: float = 1.0,
    colour: str = "white",
    **look: Any,
) -> Tensor:
    """As `mrigan.imaging.distraction.distract`; (N, 3, H, W) uint8, all showing the frame numbered `frame`."""
    size = images.shape[-1], images.shape[-2]
    thing, motion = thing_size(look, size), name.partition("_")[0]
    at = place(size, thing, motion, frame=frame, start=start, direction=direction, fraction=fraction, rng=rng)
    if at is None:
        return images
    x, y, (w, h) = at[0] - EDGE, at[1] - EDGE, (thing[0] + 2 * EDGE, thing[1] + 2 * EDGE)
    left, top = max(-x, 0), max(-y, 0)  # OpenCV clips strokes at the frame's border
    seen = left, top, min(w, size[0] - x), min(h, size[1] - y)
    if seen[2] <= seen[0] or seen[3] <= seen[1]:
        return images
    dark, gain = _ink(tuple(sorted(look.items())), colour, thing, seen, str(images.device))
    images = images.clone()
    under = images[..., y + seen[1] : y + seen[3], x + seen[0] : x + seen[2]]
    under.copy_(to_uint8(dark + gain * under))
    return images


@lru_cache(maxsize=32)
def _ink(
    look: tuple[tuple[str, Any], ...], colour: str, thing: Size, seen: tuple[int, int, int, int], device: str
) -> tuple[Tensor, Tensor]:
    """What a text or a shape makes of a pixel x: first + second · x, (3, h, w) float32 each.

    Found by drawing it over black and over white. OpenCV blends a smooth edge in steps of whole grey levels, so between
    the two it may differ from this line by some.

    Args:
        seen: (x0, y0, x1, y1), the part to be drawn, in px of the thing's box with `EDGE` px around it.
    """
    settings, corner = dict(look), (EDGE - seen[0], EDGE - seen[1])
    found = []
    for ground in (0, 255):
        board = np.full((seen[3] - seen[1], seen[2] - seen[0], 3), ground, np.uint8)
        if "text" in settings:
            board = draw_text(board, corner, colour=colour, **settings)
        else:
            board = fill_shape(board, corner, settings["shape"], thing, colour)
        found.append(torch.from_numpy(board).to(device).permute(2, 0, 1).float())
    dark, light = found
    return dark, (light - dark) / 255

"""The canvas that a clip's camera looks at: the still at the clip's scale, what is behind the person, and the light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mrigan.animate.backdrop import Backdrop
from mrigan.animate.framing import MARGIN
from mrigan.animate.head import CLOSED, Head, close_eyes
from mrigan.animate.portrait import CELLS, REACH, Portrait
from mrigan.animate.scenery import scenery
from mrigan.animate.shot import Shot

STEP = 8  # px between the places where smooth things are computed
BRIGHT = 220.0  # from here on, light is held back, so that skin is not clipped
FADE = 0.07  # of the still's shorter side: its wall fades into the invented one


@dataclass(frozen=True)
class Stage:
    """What is filmed.

    Args:
        images: by the eyelids' state (`head.CLOSED`), uint8: (h, w, 3) RGB, or (h, w, 4) of the person alone, RGB
            premultiplied by the matte, and the matte.
        behind: (h, w, 3) uint8, what is behind the person in the second case.
        head: the person's motion on this canvas.
        margin: px between the canvas's border and the frame of a camera at rest.
    """

    images: list[np.ndarray]
    behind: np.ndarray | None
    head: Head
    margin: int


def set_stage(portrait: Portrait, backdrop: Backdrop, shot: Shot, rng: np.random.Generator) -> Stage:
    """Place a portrait in front of the camera, before a wall or an invented scene, light it, and make its blinks."""
    framing = shot.framing
    margin = round(MARGIN * framing.view[1])
    size = framing.view[0] + 2 * margin, framing.view[1] + 2 * margin
    scale = framing.face / (portrait.box[2] - portrait.box[0])
    offset = np.round(np.array(framing.place) + margin - portrait.centre * scale)
    head = Head(portrait, scale, offset)
    still = _scaled(portrait.image, scale)
    if backdrop.plain:
        canvas, matte, wall = _continue_wall(backdrop, still, _scaled(backdrop.matte, scale), offset, size)
    else:
        canvas, matte, wall = _cut(still, offset, size), np.ones(size[::-1], np.float32), np.zeros(3, np.float32)
    canvas, matte = _focused(canvas, shot), _focused(matte, shot, sharpen=False)[..., None]
    front = np.maximum(canvas - (1 - matte) * wall, 0)
    pasted = backdrop.clear and shot.pasted
    behind = scenery(rng, size, framing.face).astype(np.float32) if pasted else wall
    shade, slope = _lamp(portrait, head, shot.light, size)
    front = front * (1 + shade + slope)
    behind = np.broadcast_to(behind * (1 + slope), front.shape)
    if pasted:
        rest = np.dstack([_held(front), np.rint(255 * matte).astype(np.uint8)])
    else:
        rest = _held(front + (1 - matte) * behind)
    images = [close_eyes(rest, head.mesh, closed) if closed else rest for closed in CLOSED]
    return Stage(images, _held(behind) if pasted else None, head, margin)


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _focused(image: np.ndarray, shot: Shot, sharpen: bool = True) -> np.ndarray:
    """As the lens shows it, and as the camera sharpens it."""
    if shot.blur:
        image = cv2.GaussianBlur(image, (0, 0), shot.blur)
    if shot.sharpen and sharpen:
        image = cv2.addWeighted(image, 1 + shot.sharpen, cv2.GaussianBlur(image, (0, 0), 1.2), -shot.sharpen, 0)
    return image


def _held(image: np.ndarray) -> np.ndarray:
    """uint8, with a soft shoulder instead of clipped lights."""
    over = np.maximum(image - BRIGHT, 0)
    return np.rint(np.clip(np.minimum(image, BRIGHT) + (255 - BRIGHT) * np.tanh(over / (255 - BRIGHT)), 0, 255)).astype(
        np.uint8
    )


def _cut(still: np.ndarray, offset: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The canvas's part of a still; beyond its border its mirror image (a few px, if any)."""
    height, width = still.shape[:2]
    x0, y0 = (int(v) for v in offset)
    around = max(y0, 0), max(size[1] - y0 - height, 0), max(x0, 0), max(size[0] - x0 - width, 0)
    left, top = max(-x0, 0), max(-y0, 0)
    return cv2.copyMakeBorder(still, *around, cv2.BORDER_REFLECT_101)[top : top + size[1], left : left + size[0]]


def _continue_wall(
    backdrop: Backdrop, still: np.ndarray, person: np.ndarray, offset: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The still on a canvas, its wall continued; near the still's border, its own wall fades into the continuation.

    Returns:
        (h, w, 3) uint8 RGB; (h, w) float32, the person's matte; (h, w, 3) float32, the wall.
    """
    height, width = still.shape[:2]
    x, y = (
        (np.arange(0, side + 2 * STEP, STEP) - start) * 2 / length - 1
        for side, start, length in zip(size, offset, (width, height), strict=True)
    )
    wall = _fine(backdrop.wall(x, y), size)
    canvas, matte = np.clip(wall, 0, 255).astype(np.uint8), np.zeros(size[::-1], np.float32)
    x0, y0 = (int(v) for v in offset)
    at = np.s_[max(y0, 0) : min(y0 + height, size[1]), max(x0, 0) : min(x0 + width, size[0])]
    of = np.s_[max(-y0, 0) : min(height, size[1] - y0), max(-x0, 0) : min(width, size[0] - x0)]
    columns, rows = np.arange(width), np.arange(height)
    inside = np.minimum(np.minimum(columns, columns[::-1])[None], rows[:, None]) / (FADE * min(width, height))
    weight = np.maximum(np.clip(inside, 0, 1)[of], person[of])[..., None].astype(np.float32)
    canvas[at] = np.rint(wall[at] + weight * (still[of] - wall[at])).clip(0, 255).astype(np.uint8)
    matte[at] = person[of].clip(0, 1)
    return canvas, matte, wall


def _fine(coarse: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What is known at every `STEP`-th px, at all px of a canvas."""
    height, width = (STEP * side for side in coarse.shape[:2])
    half = STEP // 2  # cv2.resize puts the first value into the middle of its px
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)[
        half : half + size[1], half : half + size[0]
    ]


def _lamp(
    portrait: Portrait, head: Head, light: tuple[float, float, float], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A lamp from one side: how much brighter it makes a person, by the head's shape, and all that is seen.

    Returns:
        Two (h, w, 1) float32 around 0. Both are smooth: the first falls to 0 with the head's relief.
    """
    strength, lx, ly = light
    relief = cv2.GaussianBlur(portrait.relief, (0, 0), 2.0)
    down, across = np.gradient(relief, 2 * REACH * portrait.width / (CELLS - 1))
    tilt = -(across * lx + down * ly) / np.sqrt(1 + across**2 + down**2)
    xs, ys = (
        np.arange(0, side + 2 * STEP, STEP, dtype=np.float32) - c for side, c in zip(size, head.centre, strict=True)
    )
    cells = [((v / head.width + REACH) * (CELLS - 1) / (2 * REACH)).astype(np.float32) for v in (xs, ys)]
    x, y = np.meshgrid(*cells)
    shade = cv2.remap(tilt.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    slope = np.tanh((xs[None] * lx + ys[:, None] * ly) / head.width).astype(np.float32)
    shade, slope = np.float32(0.75 * strength) * shade, np.float32(0.3 * strength) * slope
    return _fine(np.maximum(shade, -0.5), size)[..., None], _fine(slope, size)[..., None]

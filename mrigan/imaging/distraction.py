"""The 3 × 2 distractions of MRI-GAN, section 3: static, rolling or spontaneous, a text or a shape.

`distract` is a pure function of a picture: `place` says where in a frame the thing is, if it is there. Where it starts
is given as a part of the room that it has, so that it means the same in frames of another size.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np

from mrigan.imaging.coordinates import Size
from mrigan.imaging.letters import ABOVE, BELOW, strokes
from mrigan.imaging.methods import Die, Method
from mrigan.imaging.picture import Picture, operations

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255), "black": (0, 0, 0)}
DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
MOTIONS = ("static", "rolling", "spontaneous")
SHAPES = ("circle", "rectangle")
SPEED = 10  # px a frame
TEXT_LENGTH, TEXT_SCALE, TEXT_THICKNESS = 8, (1, 6), (1, 3)  # letters, OpenCV's units, px
SHAPE_SIZE = (0.005, 0.05, 0.08, 0.12)  # of the frame's width
FRACTION = (0.1, 0.5)  # of the frames, that show a spontaneous distraction
SHIFT = 8  # bits of a px, in coordinates of strokes


def distract(
    picture: Picture,
    name: str,
    rng: np.random.Generator | None = None,
    frame: int = 0,
    *,
    start: Sequence[float] = (0.5, 0.5),
    direction: str = "right",
    fraction: float = 1.0,
    **look: Any,
) -> Picture:
    """Apply one of `DISTRACTIONS` to the frame numbered `frame`.

    Args:
        picture: (H, W, 3) uint8 RGB, or (N, 3, H, W) planes that all show this frame; it is left as it is.
        rng, start, direction, fraction: see `place`. look: the arguments of `draw_text` or `draw_shape`.
    """
    do = operations(picture)
    size, motion = do.size(picture), name.partition("_")[0]
    ink = Drawing.of(look, size)
    at = place(size, ink.size, motion, frame=frame, start=start, direction=direction, fraction=fraction, rng=rng)
    return picture if at is None else do.paint(picture, at, ink)


class Drawing(NamedTuple):
    """A text or a shape, as `mrigan.imaging.arrays.paint` takes it.

    Attributes:
        look: the arguments of `draw_text`, or those of `fill_shape` but its size. size: (width, height) in px.
    """

    look: tuple[tuple[str, Any], ...]
    size: Size

    @classmethod
    def of(cls, look: Mapping[str, Any], frame_size: Size) -> Drawing:
        """What these arguments of `draw_text` or `draw_shape` describe in a frame of this size."""
        if "text" in look:
            size = text_size(look["text"], look["scale"], look["thickness"])
        else:
            size = shape_size(look["shape"], look["size"], frame_size)
        return cls(tuple(look.items()), size)

    def draw(self, image: np.ndarray, at: Sequence[int]) -> np.ndarray:
        """On a copy of an (H, W, 3) array, the upper left corner of its box at `at`, which may lie outside."""
        look = dict(self.look)
        if "text" in look:
            return draw_text(image, at, **look)
        return fill_shape(image, at, look["shape"], self.size, look.get("colour", "white"))


def text_size(text: str, scale: float, thickness: int) -> Size:
    """(width, height) in px of a text, with what hangs below the line; `scale` is px for each unit of the letters."""
    wide = sum(strokes(letter)[0] for letter in text)
    return math.ceil(wide * scale + thickness), math.ceil((ABOVE + BELOW) * scale + thickness)


def shape_size(shape: str, size: float, frame_size: Size) -> Size:
    """(width, height) in px of a shape.

    Args:
        size: of the frame's width: a circle's radius, a rectangle's width; a rectangle has the frame's proportions.
    """
    w, h = frame_size
    if shape == "circle":
        return (2 * max(round(w * size), 1) + 1,) * 2
    return max(round(w * size), 1), max(round(h * size), 1)


def draw_text(
    image: np.ndarray, at: Sequence[int], text: str, *, scale: float = 3, thickness: int = 2, colour: str = "white"
) -> np.ndarray:
    """Write `text` (letters and digits) in strokes, anti-aliased.

    Args:
        image: (H, W, 3) uint8 RGB; it is left as it is.
        at: (x, y) in px of the upper left corner of the text's box (see `text_size`); it may lie outside.
        scale: px a unit, of which a capital has 21; in the paper 1..6. thickness: of strokes, px; in the paper 1..3.
        colour: a key of `COLOURS`.
    """
    x, line = at[0] + thickness / 2, at[1] + ABOVE * scale + thickness / 2
    lines = []
    for letter in text:
        width, parts = strokes(letter)
        lines += [np.rint((part * scale + (x, line)) * 2**SHIFT).astype(np.int32) for part in parts]
        x += width * scale
    image = image.copy()
    return cv2.polylines(image, lines, False, COLOURS[colour], thickness, cv2.LINE_AA, SHIFT)


def draw_shape(
    image: np.ndarray, at: Sequence[int], shape: str, *, size: float = 0.08, colour: str = "white"
) -> np.ndarray:
    """Draw a filled circle or rectangle with the upper left corner of its box at `at` (see `shape_size`)."""
    thing = shape_size(shape, size, (image.shape[1], image.shape[0]))
    return fill_shape(image, at, shape, thing, colour)


def fill_shape(image: np.ndarray, at: Sequence[int], shape: str, thing: Size, colour: str) -> np.ndarray:
    """As `draw_shape`, with the (width, height) of the shape's box in px."""
    (x, y), (w, h) = (int(v) for v in at), thing
    if shape == "circle":
        return cv2.circle(image.copy(), (x + w // 2, y + h // 2), w // 2, COLOURS[colour], cv2.FILLED)
    return cv2.rectangle(image.copy(), (x, y), (x + w - 1, y + h - 1), COLOURS[colour], cv2.FILLED)


def place(
    frame_size: Size,
    thing: Size,
    motion: str,
    *,
    frame: int = 0,
    start: Sequence[float] = (0.5, 0.5),
    direction: str = "right",
    fraction: float = 1.0,
    rng: np.random.Generator | None = None,
) -> tuple[int, int] | None:
    """The upper left corner, in px, of a thing of the size `thing` in the frame numbered `frame`.

    Args:
        start: (0..1, 0..1), part of the room that the thing has in the frame: 0 = left, upper; 1 = right, lower.
        direction: of a rolling thing, which goes 10 px a frame, leaves the frame wholly and comes in on the other side.
        fraction: of the frames that show a spontaneous thing. rng: of this frame; draws whether it is shown, and where.

    Returns:
        None where a spontaneous thing is not shown.
    """
    if motion == "spontaneous":
        if rng is None:
            raise ValueError("a spontaneous distraction needs the frame's random generator")
        chance, *start = (_uniform(rng) for _ in range(3))
        if chance >= fraction:
            return None
    corner = [u * (whole - part) for u, whole, part in zip(start, frame_size, thing, strict=True)]
    if motion == "rolling":
        for axis, step in enumerate(DIRECTIONS[direction]):
            if step:
                whole, part = frame_size[axis], thing[axis]
                corner[axis] = (corner[axis] + step * SPEED * frame + part) % (whole + part) - part
    return math.floor(corner[0]), math.floor(corner[1])


def _uniform(rng: np.random.Generator) -> float:
    """0..1 (without 1) from the raw stream, which stays the same in all versions of NumPy."""
    return (int(rng.bit_generator.random_raw()) >> 11) / 2**53


def _draw(motion: str, thing: str, die: Die) -> dict[str, Any]:
    settings: dict[str, Any] = {"colour": die.choice("colour", tuple(COLOURS))}
    if thing == "text":
        letters = string.ascii_letters + string.digits
        settings["text"] = "".join(die.choice(f"letter {i}", letters) for i in range(TEXT_LENGTH))
        settings["scale"] = die.integer("scale", TEXT_SCALE)
        settings["thickness"] = die.integer("thickness", TEXT_THICKNESS)
    else:
        settings["shape"] = die.choice("shape", SHAPES)
        settings["size"] = die.choice("size", SHAPE_SIZE)
    if motion == "spontaneous":
        low, high = FRACTION
        settings["fraction"] = low + (high - low) * die.uniform("fraction")
    else:
        settings["start"] = [die.uniform("start x"), die.uniform("start y")]
    if motion == "rolling":
        settings["direction"] = die.choice("direction", tuple(DIRECTIONS))
    return settings


DISTRACTIONS: dict[str, Method] = {
    f"{motion}_{thing}": Method(partial(distract, name=f"{motion}_{thing}"), partial(_draw, motion, thing))
    for motion in MOTIONS
    for thing in ("text", "shape")
}

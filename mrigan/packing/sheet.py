"""Contact sheets: pictures in a grid, each with a caption below, as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from mrigan.files import atomic_write
from mrigan.outputs import SOFTWARE

if TYPE_CHECKING:
    from PIL import Image

MARGIN = 10  # px
LINE = 17  # px, of a caption
BACKGROUND, INK = (250, 250, 250), (30, 30, 30)
BOX = (255, 220, 0)  # a colour that no distraction has


class Font(Protocol):
    """What is asked of Pillow's fonts."""

    def getlength(self, text: str) -> float: ...


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet.

    Args:
        image: (H, W, 3) uint8 RGB; shrunk to its cell, never enlarged. caption: lines are separated by line breaks.
    """

    image: np.ndarray
    caption: str


def marked(image: np.ndarray, box: Sequence[float], points: Sequence[Sequence[float]] = ()) -> np.ndarray:
    """A copy with a box and landmarks drawn in, px of the picture."""
    width = max(round(image.shape[1] / 320), 1)
    x0, y0, x1, y1 = (round(v) for v in box)
    image = cv2.rectangle(image.copy(), (x0, y0), (x1, y1), BOX, 2 * width)
    for number, (x, y) in enumerate(points):  # the left eye in red: a mirrored face has it on the other side
        cv2.circle(image, (round(x), round(y)), 2 * width, (255, 0, 0) if number == 0 else BOX, cv2.FILLED)
    return image


def write_sheet(path: Path, title: str, rows: Sequence[Sequence[Cell]], cell: tuple[int, int] = (320, 240)) -> None:
    """Write rows of pictures, each in a cell of (width, height) px, as PNG, atomically."""
    font, bold = ImageFont.load_default(13), ImageFont.load_default(18)
    pictures = [[_shrunk(c.image, cell) for c in row] for row in rows]
    heights = [max(picture.height + (c.caption.count("\n") + 1) * LINE for picture, c in zip(shown, row, strict=True))
               for shown, row in zip(pictures, rows, strict=True)]  # fmt: skip
    upper = MARGIN + 2 * LINE
    width = MARGIN + (cell[0] + MARGIN) * max(map(len, rows))
    page = Image.new("RGB", (width, upper + sum(heights) + MARGIN * len(rows)), BACKGROUND)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, MARGIN), title, INK, bold)
    for row, shown, height in zip(rows, pictures, heights, strict=True):
        for x, (c, picture) in enumerate(zip(row, shown, strict=True)):
            left = MARGIN + x * (cell[0] + MARGIN)
            page.paste(picture, (left, upper))
            for number, text in enumerate(c.caption.split("\n")):
                pen.text((left, upper + picture.height + 2 + number * LINE), fitted(text, cell[0], font), INK, font)
        upper += height + MARGIN
    data, about = io.BytesIO(), PngInfo()
    about.add_text("Software", SOFTWARE)
    page.save(data, "PNG", optimize=True, pnginfo=about)
    with atomic_write(path) as file:
        file.write(data.getvalue())


def fitted(text: str, width: int, font: Font) -> str:
    """The text, or as much of its beginning and end as is `width` px wide: ids differ at their end."""
    shown, left = text, len(text)
    while left and font.getlength(shown) > width:
        left -= 1
        shown = f"{text[: left // 3]}…{text[len(text) - (left - left // 3) :]}"
    return shown


def _shrunk(image: np.ndarray, cell: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail(cell, Image.Resampling.BOX)
    return picture

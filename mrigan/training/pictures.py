"""The picture grid of MRI-GAN's training (section 4.7): face, true MRI, predicted MRI."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

HEADINGS = ("face", "true MRI", "predicted MRI")
COLUMNS = 2  # triples beside each other; filled downwards, so that fakes given first stand left of the reals
GAP = 12  # px, between triples
LINE = 16  # px, a line of text
FONT_SIZE = 11  # px
LEAST_SIDE = 128  # px, smaller pictures are shown as a whole multiple of their size, or the text would have no room


def picture_grid(
    faces: torch.Tensor, true: torch.Tensor, predicted: torch.Tensor, captions: list[tuple[str, str]]
) -> Image.Image:
    """Triples (face, true MRI, predicted MRI), each under its caption, in two columns with headings.

    Args:
        faces, true, predicted: (N, 3, S, S) uint8.
        captions: N pairs: a text for the left end, shortened in its middle where it is too long, and a short one for
            the right end.
    """
    count, _, side, _ = faces.shape
    times = -(-LEAST_SIDE // side)
    side *= times
    rows = -(-count // COLUMNS)
    wide, high = 3 * side + GAP, side + LINE + GAP
    grid = Image.new("RGB", (COLUMNS * wide + GAP, rows * high + LINE + GAP), "white")
    draw = ImageDraw.Draw(grid)
    font = ImageFont.load_default(FONT_SIZE)
    for column in range(min(COLUMNS, count)):
        for i, heading in enumerate(HEADINGS):
            draw.text((GAP + column * wide + i * side, GAP // 2), heading, "grey", font)
    for i, triple in enumerate(zip(faces, true, predicted, strict=True)):
        x, y = GAP + i // rows * wide, GAP // 2 + LINE + i % rows * high
        left, right = captions[i]
        room = 3 * side - draw.textlength(right, font) - GAP
        draw.text((x, y), _shortened(left, room, draw, font), "black", font)
        draw.text((x + 3 * side, y), right, "black", font, anchor="ra")
        picture = torch.cat(list(triple), dim=2).permute(1, 2, 0).cpu().numpy().repeat(times, 0).repeat(times, 1)
        grid.paste(Image.fromarray(np.ascontiguousarray(picture)), (x, y + LINE))
    return grid


def _shortened(text: str, room: float, draw: ImageDraw.ImageDraw, font: Any) -> str:
    """`text`, with so much of its middle left out that it fits into `room` px."""
    if draw.textlength(text, font) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: kept // 2]}…{text[len(text) - (kept + 1) // 2 :]}"
        if draw.textlength(short, font) <= room:
            return short
    return ""

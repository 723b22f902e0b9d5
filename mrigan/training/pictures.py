"""The picture grid of MRI-GAN's training (section 4.7): face, true MRI, predicted MRI."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw

STRIP = 14  # px, the caption above each triple
COLUMNS = 2  # triples beside each other
GAP = 4  # px


def picture_grid(faces: torch.Tensor, true: torch.Tensor, predicted: torch.Tensor, captions: list[str]) -> Image.Image:
    """Triples (face, true MRI, predicted MRI) under their captions, two triples a row.

    Args:
        faces, true, predicted: (N, 3, S, S) uint8.
        captions: N short texts.
    """
    count, _, side, _ = faces.shape
    rows = -(-count // COLUMNS)
    wide, high = 3 * side + GAP, side + STRIP + GAP
    grid = Image.new("RGB", (COLUMNS * wide, rows * high), "white")
    draw = ImageDraw.Draw(grid)
    for i, triple in enumerate(zip(faces, true, predicted, strict=True)):
        x, y = i % COLUMNS * wide, i // COLUMNS * high
        draw.text((x + 2, y + 1), captions[i], fill="black")
        picture = torch.cat(list(triple), dim=2).permute(1, 2, 0).cpu().numpy()
        grid.paste(Image.fromarray(np.ascontiguousarray(picture)), (x, y + STRIP))
    return grid

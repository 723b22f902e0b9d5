"""How a head moves over its still: turn by its relief, tilt, sway, jaw, smile, eyelids. One smooth field, no seams."""

from __future__ import annotations

import cv2
import numpy as np

from mrigan.animate.portrait import CELLS, CHIN, OVAL, REACH, Portrait

UPPER = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
LOWER = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
CLOSED = (0.0, 0.35, 0.65, 0.92)  # how far the upper lid has come down, by the state of a blink
CORNERS, LIP = (61, 291), 17
PASSES = 4  # of the fixed-point inversion: the field's slope is below 0.6, so that 0.6 ** 4 of a step remains


class Head:
    """The moving head of a portrait whose px are scaled and moved onto a canvas.

    Args:
        scale: canvas px a px of the still. offset: (2,) canvas px of the still's first pixel.
    """

    def __init__(self, portrait: Portrait, scale: float, offset: np.ndarray) -> None:
        self.width = portrait.width * scale
        self.centre = portrait.centre * scale + offset
        self.mesh = portrait.mesh[:, :2] * scale + offset
        oval = self.mesh[list(OVAL)]
        self._corner = (self.centre - REACH * self.width).astype(np.float32)
        self._per_px = np.float32((CELLS - 1) / (2 * REACH * self.width))
        self._fields = self._draw_fields(portrait.relief * scale, (oval.max(0) - oval.min(0)) / 2)

    def source(self, places: np.ndarray, pose: dict[str, float]) -> np.ndarray:
        """Where the pixels of the moved head come from.

        Args:
            places: (H, W, 2) float32 canvas px. pose: of `Shot.head`, one value each.

        Returns:
            (H, W, 2) float32 canvas px of the still at rest.
        """
        at = places
        moves = self._moves(pose)
        for _ in range(PASSES):
            x, y = ((at[..., i] - self._corner[i]) * self._per_px for i in (0, 1))
            at = places - cv2.remap(moves, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return at

    def _moves(self, pose: dict[str, float]) -> np.ndarray:
        """(CELLS, CELLS, 2) float32: by how many px each place of the head at rest moves."""
        x, y, relief, solid, loose, jaw, smile = self._fields
        yaw, pitch, roll = pose["yaw"], pose["pitch"], pose["roll"]
        dx = relief * np.sin(yaw) + solid * x * (np.cos(yaw) - 1)
        dy = relief * np.sin(pitch) + solid * y * (np.cos(pitch) - 1) + jaw * pose["jaw"]
        pivot = self.width  # below the face's centre: the nape
        dx += (
            loose * (x * (np.cos(roll) - 1) - (y - pivot) * np.sin(roll) + pose["x"] * self.width)
            + smile * pose["smile"]
        )
        dy += loose * (x * np.sin(roll) + (y - pivot) * (np.cos(roll) - 1) + pose["y"] * self.width)
        return np.stack([dx, dy], -1).astype(np.float32)

    def _draw_fields(self, relief: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, ...]:
        side = np.linspace(-REACH, REACH, CELLS, dtype=np.float32) * self.width
        x, y = np.meshgrid(side, side)
        radius = np.hypot(x / axes[0], y / axes[1])
        edge = np.clip((1.95 * self.width - np.hypot(x, y)) / (0.3 * self.width), 0, 1)
        solid, loose = _fall(radius, 1.1, 1.8), _fall(radius, 1.4, 3.0) * edge

        def bump(place: np.ndarray, wide: float, high: float) -> np.ndarray:
            dx, dy = place - self.centre
            return np.exp(-(((x - dx) / (wide * self.width)) ** 2) - ((y - dy) / (high * self.width)) ** 2)

        lip, chin = self.mesh[LIP], self.mesh[CHIN]
        jaw = 0.035 * self.width * bump((lip + chin) / 2, 0.32, 0.2)
        left, right = self.mesh[list(CORNERS)]
        smile = 0.02 * self.width * (bump(right, 0.14, 0.14) - bump(left, 0.14, 0.14))
        return x, y, relief, solid, loose, jaw, smile


def _fall(value: np.ndarray, start: float, end: float) -> np.ndarray:
    """1 below `start`, 0 above `end`, smooth between."""
    t = np.clip((value - start) / (end - start), 0, 1)
    return 1 - t * t * (3 - 2 * t)


def close_eyes(image: np.ndarray, mesh: np.ndarray, closed: float) -> np.ndarray:
    """A copy of the canvas in which the upper lids have come down: skin above is stretched over the eyes.

    Args:
        image: (H, W, C). mesh: (468, 2) px in it. closed: 0..1 of the eyes' opening.
    """
    image = image.copy()
    for upper, lower in zip(UPPER, LOWER, strict=True):
        top, low = (mesh[list(line)] for line in (upper, lower))
        top, low = top[np.argsort(top[:, 0])], low[np.argsort(low[:, 0])]
        opening = max(float((low[:, 1] - top[:, 1]).max()), 1.0)
        x0, x1 = int(top[0, 0]) - 2, int(top[-1, 0]) + 3
        y0, y1 = int(top[:, 1].min() - 1.6 * opening), int(low[:, 1].max() + 3)
        x0, y0 = max(x0, 0), max(y0, 0)
        patch = image[y0:y1, x0:x1]
        if patch.size == 0:
            continue
        y, x = np.mgrid[y0 : y0 + patch.shape[0], x0 : x0 + patch.shape[1]].astype(np.float32)
        lid, rim = (np.interp(x[0], line[:, 0], line[:, 1]).astype(np.float32) for line in (top, low))
        gap = np.maximum(rim - lid, 0)
        crease, edge = lid - 1.3 * gap - 1, lid + closed * gap
        above = crease + (y - crease) * (lid - crease) / (edge - crease)
        below = lid + (y - edge) * gap / np.maximum(rim - edge, 1e-3)
        at = np.where((y > crease) & (y <= edge), above, np.where((y > edge) & (y < rim), below, y))
        image[y0:y1, x0:x1] = cv2.remap(
            patch, x - x0, (at - y0).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return image

"""How a fake's picture may lie in its original's, and how far the two differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mrigan.config import PairsConfig
from mrigan.imaging.coordinates import INSIDE
from mrigan.imaging.picture import Picture, grey, is_array, scale_to, to_host

FLAT = 8.0  # of 255, standard deviation: darker or emptier frames match in every geometry and tell nothing
GREY, COLOURED = 3.0, 10.0  # of 255, mean of the largest minus the smallest channel: skin has 30 and more
GREY_STEP = 4  # px between two that are looked at


@dataclass(frozen=True)
class Geometry:
    """How both pictures of a pair come to one size, and where a box of the original lies in it.

    Args:
        size: (w, h) in px of the pair's pictures.
        window: (dx, dy) in px of the original: where a cut-out fake's corner lies.
        scale: (x, y), size of the pair's pictures over that of the original (after the window); 1 = as it is.
    """

    size: tuple[int, int]
    window: tuple[int, int] = (0, 0)
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) float64: where a point (x, y, 1) of the original lies in the pair's pictures."""
        (dx, dy), (sx, sy) = self.window, self.scale
        return np.array([[sx, 0.0, -dx * sx], [0.0, sy, -dy * sy], [0.0, 0.0, 1.0]])

    def whole(self, size: tuple[int, int]) -> bool:
        """Whether the pair shows an original of `size` (w, h) just as it is."""
        return self.size == size and self.window == (0, 0) and self.scale == (1.0, 1.0)

    def original(self, image: Picture) -> Picture:
        """The original's picture in the pair's geometry."""
        if self.scale != (1.0, 1.0):
            return scale_to(image, self.size)
        (w, h), (dx, dy) = self.size, self.window
        return image[dy : dy + h, dx : dx + w]

    def fake(self, image: Picture) -> Picture:
        """The fake's picture in the pair's geometry."""
        return image if tuple(image.shape[1::-1]) == self.size else scale_to(image, self.size)

    def moved(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        """A box in px of the original, in px of the pair's pictures, wherever it lies."""
        (dx, dy), (sx, sy) = self.window, self.scale
        return (box[0] - dx) * sx, (box[1] - dy) * sy, (box[2] - dx) * sx, (box[3] - dy) * sy

    def box(self, box: Sequence[float]) -> tuple[float, float, float, float] | None:
        """A box in px of the original, in px of the pair's pictures and clipped to them.

        None where less than nine tenths of it lie in the window: then the fake does not show this face whole.
        """
        w, h = self.size
        x0, y0, x1, y1 = self.moved(box)
        cx0, cy0, cx1, cy1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(w)), min(y1, float(h))
        area = (x1 - x0) * (y1 - y0)
        if cx1 <= cx0 or cy1 <= cy0 or (cx1 - cx0) * (cy1 - cy0) < INSIDE * area:
            return None
        return cx0, cy0, cx1, cy1


def geometries(original: np.ndarray, fake: np.ndarray) -> Iterator[Geometry]:
    """The ways in which a fake's picture may lie in its original's (both (h, w) grey), the likeliest first."""
    (H, W), (h, w) = original.shape, fake.shape
    if (h, w) == (H, W):
        yield Geometry((w, h))
        return
    if h <= H and w <= W:
        centre = (W - w) // 2, (H - h) // 2
        yield Geometry((w, h), window=centre)
        match = cv2.matchTemplate(original, fake, cv2.TM_SQDIFF)
        dy, dx = np.unravel_index(int(match.argmin()), match.shape)
        if (dx, dy) != centre:
            yield Geometry((w, h), window=(int(dx), int(dy)))
    size = (w, h) if w * h <= W * H else (W, H)
    yield Geometry(size, scale=(size[0] / W, size[1] / H))


def rim(image: np.ndarray) -> list[np.ndarray]:
    """The outer eighth of a picture on each side, as four views that do not overlap."""
    h, w = image.shape[:2]
    y, x = max(h // 8, 1), max(w // 8, 1)
    return [image[:y], image[h - y :], image[y : h - y, :x], image[y : h - y, w - x :]]


def grey_rim(image: Picture) -> list[np.ndarray]:
    """The grey values of the `rim` of an (h, w, 3) uint8 RGB picture."""
    if not is_array(image):
        return rim(grey(image))
    return [grey(part) if part.size else part[..., 0] for part in rim(image)]


def border_difference(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """Mean absolute difference of the grey rims (see `grey_rim`) of two pictures of one size, 0..255."""
    total = sum(cv2.norm(one, other, cv2.NORM_L1) for one, other in zip(a, b, strict=True) if one.size)
    return total / sum(part.size for part in a)


def changed(original_face: Picture, fake_face: Picture, config: PairsConfig) -> bool:
    """Whether a fake face differs from the original's: more than `changed_pixels` pixels by more than `changed_by`.

    The DFDC winner's rule, on the grey values of two (h, w, 3) uint8 faces of one size. DFDC has fakes with an altered
    sound and an unchanged picture, and fakes in which only one of several people is swapped.
    """
    difference = cv2.absdiff(grey(original_face), grey(fake_face))
    return int(np.count_nonzero(difference > config.changed_by)) > config.changed_pixels


def one_is_grey(a: Picture, b: Picture) -> bool:
    """Whether one of two (h, w, 3) uint8 faces has colours, and the other has none.

    Their MRI would show that the colours were taken away, which any converter does, more than it shows the forgery.
    """
    colours = [_colour(to_host(face[::GREY_STEP, ::GREY_STEP])) for face in (a, b)]
    return min(colours) < GREY and max(colours) > COLOURED


def _colour(image: np.ndarray) -> float:
    """Mean difference between the largest and the smallest of a pixel's three values, 0..255."""
    red, green, blue = cv2.split(image)
    most, least = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return float(cv2.norm(most, least, cv2.NORM_L1)) / red.size


def spread(values: np.ndarray) -> float:
    """Standard deviation of every fourth grey value each way, 0..127."""
    return float(np.ascontiguousarray(values[::4, ::4]).std())

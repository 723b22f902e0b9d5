"""What a face and a frame look like, in a few numbers: enough to say that a face, or the shot, is another one now.

No identity is learned or recognised. A face is described by grey values, edges and colour of two small views, aligned
by its five points; a frame by its small grey picture and its colours. Both are compared with what was seen fractions of
a second before, so light, hair and background help, and two people in front of one wall can be told apart by them.
The constants were set on real clips; benchmarks/tracks.py measures how often they are wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mrigan.imaging.picture import Picture, scale_to, to_host
from mrigan.video.crops import crop

# Places of the five points in the unit square: eyes, nose, corners of the mouth
TEMPLATE = np.array([[0.34, 0.40], [0.66, 0.40], [0.50, 0.58], [0.37, 0.74], [0.63, 0.74]])
AROUND = 0.5  # of the box, on each side, that is looked at
SOURCE = 160  # px, the longer side of what a face's views are taken of; and of a frame
SIDE = 64  # px of a view
WIDE = 0.8  # of the view's size: the template in the wide view, with hair and some background
TIGHT = (slice(6, 58), slice(10, 54))  # rows, columns of the wide view: the face alone
CELL, BINS = 8, 8  # px, orientations of edges
# One unit of each part's distance: a calm person's successive samples are nearer, two people mostly some units apart
UNITS = {"grey": 0.15, "grey_tight": 0.2, "edges": 0.4, "edges_tight": 0.45, "lab": 10.0, "colour_tight": 3.0}
MOST = 5.0  # units of one part
SHOT = 32  # px of a frame's grey picture
SLACK = 5  # of these px each way, that the camera may have moved
SHARES = 1024  # about the sum of the weights that smooth colours
LIGHT, CHROMA = (8, 0, 256), (12, 92, 164)  # bins, from, to of a frame's colours in Lab


@dataclass(frozen=True)
class Look:
    """A face's numbers by the parts of `UNITS`: of grey values and edges unit vectors, of colours levels 0..255."""

    parts: dict[str, np.ndarray]


@dataclass(frozen=True)
class Shot:
    """A frame: its grey values (32, 32) float32, and how its colours are spread, (1152,) float32 that make 1."""

    grey: np.ndarray
    colours: np.ndarray


def look_of(image: Picture, box: Sequence[float], points: Sequence[Sequence[float]]) -> Look:
    """Describe the face of an (H, W, 3) uint8 RGB picture.

    Args:
        box: (x0, y0, x1, y1) in px, inside the picture. points: its five points in px; without them the box is used.
    """
    part = crop(image, box, AROUND)
    x0, y0 = (max(int(box[i]) - int((int(box[i + 2]) - int(box[i])) * AROUND), 0) for i in (0, 1))
    small = _reduced(part)
    size = small.shape[1::-1]
    factor = np.array([size[0] / part.shape[1], size[1] / part.shape[0]])
    marks = (_marks(box, points) - (x0, y0)) * factor
    wide = _taken(small, _similarity(((TEMPLATE - 0.5) * WIDE + 0.5) * SIDE, marks))
    tight = np.ascontiguousarray(wide[TIGHT])
    grey = cv2.cvtColor(wide, cv2.COLOR_RGB2GRAY)
    grey_tight = cv2.resize(np.ascontiguousarray(grey[TIGHT]), (SIDE, SIDE))
    return Look({
        "grey": _unit(_shrunk(grey, 16)),
        "grey_tight": _unit(_shrunk(grey_tight, 16)),
        "edges": _unit(_edges(cv2.GaussianBlur(grey, (0, 0), 1))),
        "edges_tight": _unit(_edges(grey_tight)),
        "lab": _shrunk(cv2.cvtColor(wide, cv2.COLOR_RGB2LAB), 8).ravel(),
        "colour_tight": _shrunk(cv2.cvtColor(tight, cv2.COLOR_RGB2LAB), 4)[..., 1:].ravel(),
    })  # fmt: skip


def unlikeness(a: Look, b: Look) -> float:
    """How unlike two faces look: 0 = the same picture, 5 at most; successive samples of a calm person have about .4."""
    total = 0.0
    for name, unit in UNITS.items():
        x, y = a.parts[name], b.parts[name]
        levels = name in ("lab", "colour_tight")
        distance = float(np.sqrt(np.mean((x - y) ** 2))) if levels else 1 - float(x @ y)
        total += min(distance / unit, MOST)
    return _on_grid(total / len(UNITS))


def small_of(image: Picture) -> np.ndarray:
    """An (H, W, 3) frame, shrunk to (h, w, 3) on the CPU: what its shots are described from."""
    return _reduced(image)


def around(small: np.ndarray, box: Sequence[float], frame_size: tuple[int, int]) -> np.ndarray:
    """The part of a shrunk frame around a face (px of the frame of (w, h)), three times as wide and high as its box."""
    h, w = small.shape[:2]
    x, y = w / frame_size[0], h / frame_size[1]
    dx, dy = (box[2] - box[0]) * x, (box[3] - box[1]) * y
    x0, y0 = max(int(box[0] * x - dx), 0), max(int(box[1] * y - dy), 0)
    x1, y1 = min(math.ceil(box[2] * x + dx), w), min(math.ceil(box[3] * y + dy), h)
    return small[y0:y1, x0:x1]


def shot_of(small: np.ndarray) -> Shot:
    """Describe an (h, w, 3) uint8 RGB picture, a shrunk frame or a part of it."""
    small = np.ascontiguousarray(small)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    light, green_red, blue_yellow = _places()
    place = light[lab[:, 0]] + green_red[lab[:, 1]] + blue_yellow[lab[:, 2]]
    shape = LIGHT[0], CHROMA[0], CHROMA[0]
    counts = np.bincount(place, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)
    colours = _smoothed(counts).ravel()
    spread = (colours / colours.sum()).astype(np.float32)
    return Shot(_shrunk(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), SHOT), spread)


@lru_cache(maxsize=1)
def _places() -> tuple[np.ndarray, ...]:
    """What each level of a channel of Lab adds to the place of a colour's bin: three arrays (256,)."""
    levels, pitches = np.arange(256), (CHROMA[0] ** 2, CHROMA[0], 1)
    return tuple(
        pitch * np.clip((levels - low) * bins // (high - low), 0, bins - 1)
        for pitch, (bins, low, high) in zip(pitches, (LIGHT, CHROMA, CHROMA), strict=True)
    )


def shot_difference(a: Shot, b: Shot) -> float:
    """How far two frames differ, 0 (alike) to 3: what their grey pictures lack of correlation, wherever the camera has
    moved to, and the part of their colours that they do not share. Within a shot mostly below .1, at a cut about 1.3.
    """
    inner = np.ascontiguousarray(b.grey[SLACK:-SLACK, SLACK:-SLACK])
    if min(float(a.grey.std()), float(inner.std())) < 1:  # a blank frame correlates with nothing, or with anything
        alike = float(np.abs(a.grey - b.grey).mean() < 8)
    else:
        alike = float(cv2.matchTemplate(a.grey, inner, cv2.TM_CCOEFF_NORMED).max())
    return _on_grid(2 - alike - float(np.minimum(a.colours, b.colours).sum()))


def _on_grid(value: float) -> float:
    """Rounded to 1/256: what is decided by it rests on no last bit of a sum."""
    return round(value * 256) / 256


def _smoothed(counts: np.ndarray) -> np.ndarray:
    """A Gaussian of one bin along each axis: colours near each other count as alike.

    Its weights are whole numbers, so float64 has the sums exactly, in whatever order a processor makes them.
    """
    for axis, length in enumerate(counts.shape):
        counts = np.moveaxis(np.tensordot(_smoothing(length), counts, (1, axis)), 0, axis)
    return counts


@lru_cache(maxsize=4)
def _smoothing(length: int) -> np.ndarray:
    """(length, length): what each bin gives to each; at the ends, what lies beyond counts as the last bin."""
    weights = np.exp(-0.5 * np.arange(-4, 5) ** 2)
    weights = np.rint(weights * (SHARES / weights.sum()))
    given = np.zeros((length, length))
    for bin_ in range(length):
        np.add.at(given[bin_], np.clip(np.arange(bin_ - 4, bin_ + 5), 0, length - 1), weights)
    return given


def _reduced(image: Picture) -> np.ndarray:
    """A picture on the CPU with a longer side of at most SOURCE px; of much larger ones only some pixels are read.

    First means over whole pixels, then less than a halving between neighbours: no float in it, so every processor has
    the same values, and it takes a quarter of the time of means over parts of pixels.
    """
    step = max(max(image.shape[:2]) // (2 * SOURCE), 1)
    coarse = image[::step, ::step]
    h, w = coarse.shape[:2]
    factor = min(max(max(h, w) // SOURCE, 1), h, w)
    coarse = coarse[: h // factor * factor, : w // factor * factor]
    if step > 1 and isinstance(coarse, np.ndarray):
        coarse = np.stack([coarse[..., channel] for channel in range(3)], axis=-1)  # twice as fast as one copy
    small = to_host(scale_to(coarse, (w // factor, h // factor)))
    scale = SOURCE / max(small.shape[:2])
    if scale >= 1:
        return small
    size = [max(round(side * scale), 1) for side in small.shape[1::-1]]
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR_EXACT))


def _marks(box: Sequence[float], points: Sequence[Sequence[float]]) -> np.ndarray:
    """The five points; where there are none, or they fall together, where they usually are in the box."""
    five = np.asarray(points, np.float64)
    corner, size = np.asarray(box[:2]), np.asarray(box[2:]) - np.asarray(box[:2])
    if five.shape != TEMPLATE.shape or not np.isfinite(five).all() or five.std(axis=0).min() < 0.02 * size.min():
        return np.asarray(corner + TEMPLATE * size)
    return five


def _similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The (2, 3) turn, scale and shift that brings points onto others with least squares (Umeyama 1991)."""
    middle, aim = source.mean(axis=0), target.mean(axis=0)
    s, t = source - middle, target - aim
    # with x as a complex number the best turn and scale is one factor; none of them mirrors
    factor = np.vdot(s[:, 0] + 1j * s[:, 1], t[:, 0] + 1j * t[:, 1]) / max(float((s**2).sum()), 1e-9)
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.hstack([linear, (aim - linear @ middle)[:, None]])


def _taken(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A view of (SIDE, SIDE) px, bilinear; `matrix` (2, 3) says where its points lie in the picture.

    Places are rounded to 1/32 px, and OpenCV then computes in whole numbers: the same on every processor.
    """
    column, row = np.arange(SIDE) + 0.5, np.arange(SIDE)[:, None] + 0.5
    x, y = (np.rint((a * column + b * row + c - 0.5) * 32).astype(np.int32) for a, b, c in matrix)
    whole = np.stack([x >> 5, y >> 5], axis=-1).astype(np.int16)
    part = ((y & 31) * 32 + (x & 31)).astype(np.uint16)
    return cv2.remap(image, whole, part, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _shrunk(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32))


def _unit(values: np.ndarray) -> np.ndarray:
    """Without their mean, of length 1: light that is brighter or dimmer all over changes nothing."""
    centred = values.ravel() - values.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-6))


@lru_cache(maxsize=1)
def _cells() -> np.ndarray:
    """(SIDE, SIDE): the place of each pixel's first bin."""
    rows, columns = np.mgrid[:SIDE, :SIDE] // CELL
    return np.asarray((rows * (SIDE // CELL) + columns) * BINS)


def _edges(grey: np.ndarray) -> np.ndarray:
    """How edges are directed in each cell, as a histogram of oriented gradients (Dalal and Triggs 2005)."""
    values = grey.astype(np.float32)
    dx, dy = np.zeros_like(values), np.zeros_like(values)
    dx[:, 1:-1], dy[1:-1] = values[:, 2:] - values[:, :-2], values[2:] - values[:-2]
    strength = np.sqrt(np.hypot(dx, dy))
    turn = np.arctan2(dy, dx) % np.pi / np.pi * BINS
    low = np.floor(turn).astype(np.int64)
    part = turn - low
    n, cell = SIDE // CELL, _cells()
    counts = np.bincount((cell + low % BINS).ravel(), (strength * (1 - part)).ravel(), n * n * BINS)
    counts += np.bincount((cell + (low + 1) % BINS).ravel(), (strength * part).ravel(), n * n * BINS)
    counts = counts.reshape(n * n, BINS)
    return np.asarray(counts / (np.linalg.norm(counts, axis=1, keepdims=True) + 10), np.float32)

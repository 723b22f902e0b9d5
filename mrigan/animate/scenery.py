"""Invented surroundings: walls, rooms out of focus, foliage, and the screens of webinars and news."""

from __future__ import annotations

import cv2
import numpy as np

OBJECTS = 14  # the most in a room


def scenery(rng: np.random.Generator, size: tuple[int, int], person: float) -> np.ndarray:
    """What may be behind a person, out of focus: (height, width, 3) uint8 RGB.

    Args:
        size: width, height in px. person: width of the face in px, by which things are scaled.
    """
    kind = rng.choice(["wall", "room", "foliage"], p=[0.3, 0.5, 0.2])
    if kind == "foliage":
        image = _foliage(rng, size)
    else:
        image = _slope(rng, size, _paint(rng, 30, 215), _paint(rng, 30, 215))
        for _ in range(int(rng.integers(3, OBJECTS)) if kind == "room" else 0):
            _object(rng, image, person)
    grain = _clouds(rng, size, 5) * rng.uniform(2, 10)
    blurred = cv2.GaussianBlur(image + grain[..., None], (0, 0), person * float(np.exp(rng.uniform(-4, -1.5))) + 0.5)
    return np.clip(np.rint(blurred), 0, 255).astype(np.uint8)


def screen(rng: np.random.Generator, size: tuple[int, int], window: tuple[int, int, int, int]) -> np.ndarray:
    """What is around a window with a person: (height, width, 3) uint8 RGB, a slope of two colours and plain boxes.

    Args:
        window: x, y, width, height in px; it may get a rim.
    """
    image = _slope(rng, size, _paint(rng, 5, 230), _paint(rng, 5, 230))
    for _ in range(int(rng.integers(0, 5))):
        x0, y0 = rng.uniform(-0.1, 0.9) * size[0], rng.uniform(-0.1, 0.95) * size[1]
        x1, y1 = x0 + rng.uniform(0.05, 0.5) * size[0], y0 + rng.uniform(0.02, 0.3) * size[1]
        cv2.rectangle(image, (int(x0), int(y0)), (int(x1), int(y1)), _paint(rng, 5, 235).tolist(), -1)
    x, y, width, height = window
    rim = int(rng.choice([0, 0, 2, 4]))
    if rim:
        shade = [float(rng.choice([10, 240]))] * 3
        cv2.rectangle(image, (x - rim, y - rim), (x + width + rim - 1, y + height + rim - 1), shade, -1)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _paint(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """(3,) a colour, most often a pale one."""
    return rng.uniform(low, high) * 0.72 + rng.uniform(low, high, 3) * 0.28


def _slope(rng: np.random.Generator, size: tuple[int, int], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(height, width, 3) float32: from one colour to another, along a drawn direction."""
    x, y = np.meshgrid(*(np.linspace(-1, 1, side, dtype=np.float32) for side in size))
    angle = rng.uniform(0, 2 * np.pi)
    along = np.sin(rng.uniform(0.3, 2) * (np.cos(angle) * x + np.sin(angle) * y) + rng.uniform(-1, 1))
    return (first + (0.5 + 0.5 * along[..., None]) * (second - first)).astype(np.float32)


def _object(rng: np.random.Generator, image: np.ndarray, person: float) -> None:
    """Draw a frame, a shelf, a lamp or a row of books into a room."""
    height, width = image.shape[:2]
    x, y = rng.uniform(-0.1, 1) * width, rng.uniform(-0.1, 0.9) * height
    wide, high = person * np.exp(rng.uniform(-1.2, 1.2, 2))
    kind = rng.choice(["box", "lamp", "books"])
    if kind == "lamp":
        cv2.circle(image, (int(x), int(y)), int(wide / 6) + 1, _paint(rng, 120, 255).tolist(), -1)
        return
    parts = int(rng.integers(4, 12)) if kind == "books" else 1
    for part in range(parts):
        left, right = (int(x + wide * at / parts) for at in (part, part + 1))
        top = int(y + (rng.uniform(0, 0.2) * high if parts > 1 else 0))
        cv2.rectangle(image, (left, top), (right, int(y + high)), _paint(rng, 15, 235).tolist(), -1)


def _foliage(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Leaves and light, far away: clouds of dark and bright green, ochre or grey."""
    dark, bright = _paint(rng, 10, 90), _paint(rng, 110, 250)
    tone = np.array([1.0, rng.uniform(1.0, 1.25), rng.uniform(0.6, 1.1)])
    share = np.clip(0.5 + 0.35 * _clouds(rng, size, 7), 0, 1)[..., None]
    return ((dark + share * (bright - dark)) * tone).astype(np.float32)


def _clouds(rng: np.random.Generator, size: tuple[int, int], octaves: int) -> np.ndarray:
    """(height, width) float32: noise of several scales, with a standard deviation of 1."""
    total = np.zeros(size[::-1], np.float32)
    for octave in range(1, octaves + 1):
        cells = rng.standard_normal((2**octave, 2**octave), np.float32)
        total += cv2.resize(cells, size, interpolation=cv2.INTER_CUBIC) / 2 ** (octave * 0.7)
    return total / total.std()

"""Turn a person at rest into a clip: head motion, parallax, expressions, changing light, camera noise.

Each frame is one remap of the canvas. A fake's face and mask use the same maps, so that fakes and originals are aligned
frame by frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from mrigan.sample.people import CANVAS, EYES, HEIGHT, MARGIN, WIDTH, Person
from mrigan.sample.portraits import point

FPS = 25
BENDS = ("mouth", "smile", "blink", "brows", "yaw", "pitch")  # the fields of a Pose that bend the face


@dataclass(frozen=True)
class Pose:
    """The head's position, angles and expressions in one frame: px, radians, factors, and 0..1."""

    x: float
    y: float
    turn: float
    scale: float
    yaw: float
    pitch: float
    mouth: float
    smile: float
    blink: float
    brows: float
    light: float
    slant: float


@dataclass(frozen=True)
class MotionFrame:
    """One frame of an original.

    Attributes:
        image: (H, W, 3) float32 RGB 0..255, with the camera's noise.
        maps: the maps for cv2.remap from the canvas to this frame.
        light: (H, W, 1) float32, the factor of the light at each pixel.
    """

    image: np.ndarray
    maps: tuple[np.ndarray, np.ndarray]
    light: np.ndarray


def render(person: Person, seed: int, frames: int) -> Iterator[MotionFrame]:
    """The frames of the person's original, in order."""
    rng = np.random.default_rng([seed, person.number, 2])
    poses = _poses(rng, frames)
    fields = _fields(person)
    grain = rng.standard_normal((HEIGHT + 32, WIDTH + 32, 3), np.float32) * np.float32(person.noise)
    offset = np.clip(_wave(rng, frames, 3.0), -1, 1) * 4  # a hand-held camera
    layers = cv2.merge([person.image[..., 0], person.image[..., 1], person.image[..., 2], person.alpha])
    for index, pose in enumerate(poses):
        maps = _maps(person, pose, fields)
        moved = cv2.remap(layers, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        alpha = moved[..., 3:]
        shift = np.array([[1, 0, offset[index] - MARGIN], [0, 1, 0.5 * offset[index] - MARGIN]], np.float32)
        behind = cv2.warpAffine(
            person.background, shift, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        light = _light(person.light, pose)
        clean = (moved[..., :3] * alpha + behind * (1 - alpha)) * light
        row, column = rng.integers(0, 33, 2)  # the camera's noise: a random window of one large picture
        yield MotionFrame(clean + grain[row : row + HEIGHT, column : column + WIDTH], maps, light)


def _wave(rng: np.random.Generator, frames: int, periods: float) -> np.ndarray:
    """(frames,) smooth values, mostly in -1..1: three sines of at most `periods` periods in 50 frames."""
    amounts, rates, phases = rng.uniform(0.3, 1, (3, 1)), rng.uniform(0.3, 1, (3, 1)) * periods, rng.random((3, 1))
    return (amounts * np.sin(2 * np.pi * (rates * np.arange(frames) / 50 + phases))).sum(0) / 1.6


def _poses(rng: np.random.Generator, frames: int) -> list[Pose]:
    talk = np.clip(_wave(rng, frames, 6) * np.clip(0.5 + _wave(rng, frames, 1.5), 0, 1), 0, 1)
    blink = np.zeros(frames)
    for start in rng.integers(3, 30) + np.arange(0, frames, 37):
        for step, closed in enumerate((0.4, 0.9, 1.0, 0.7, 0.3)):
            if start + step < frames:
                blink[start + step] = closed
    columns = {
        "x": 12 * _wave(rng, frames, 1.2),
        "y": 6 * _wave(rng, frames, 1.2),
        "turn": 0.075 * _wave(rng, frames, 1),
        "scale": 1 + 0.03 * _wave(rng, frames, 0.8),
        "yaw": 5 * _wave(rng, frames, 1.3),
        "pitch": 3 * _wave(rng, frames, 1.3),
        "mouth": talk,
        "smile": np.clip(_wave(rng, frames, 1), 0, 1),
        "blink": blink,
        "brows": np.clip(_wave(rng, frames, 1.5), -0.3, 1),
        "light": 1 + 0.06 * _wave(rng, frames, 0.8),
        "slant": 0.10 + 0.05 * _wave(rng, frames, 0.6),
    }
    return [Pose(**{name: float(values[i]) for name, values in columns.items()}) for i in range(frames)]


def _fields(person: Person) -> np.ndarray:
    """(`BENDS`, canvas height, width, 2) float32 px: the offset from a pixel of the canvas to its source."""
    y, x = np.mgrid[0 : CANVAS[1], 0 : CANVAS[0]].astype(np.float32)

    def bump(name: str, wide: float, high: float, dx: float = 0, dy: float = 0) -> np.ndarray:
        cx, cy = point(person.points, name, dx, dy)
        return np.exp(-(((x - cx) / wide) ** 2) - ((y - cy) / high) ** 2).astype(np.float32)

    def field(dx: np.ndarray | float, dy: np.ndarray | float) -> np.ndarray:
        zero = np.zeros_like(x)
        return np.stack([zero + dx, zero + dy], -1)

    eyes = np.zeros_like(x)
    for side in "lr":
        top, low = (point(person.points, f"eye_{side}_{k}") for k in ("top", "low"))
        middle = (top + low) / 2
        # To close the lid, the eye's picture is squeezed to its lower edge.
        eyes += bump(f"eye_{side}_top", 20, 9, 0, (middle - top)[1]) * np.clip(low[1] - y + 2, -4, 10) * -0.75
    low = bump("lip_low", 30, 16, 0, 2) + 0.8 * bump("chin", 40, 16)
    corners = bump("mouth_r", 15, 15) - bump("mouth_l", 15, 15)
    depth = bump("nose_tip", 0.62 * EYES, 0.85 * EYES)
    brows = bump("brow_l_mid", 22, 11) + bump("brow_r_mid", 22, 11)
    bends = {
        "mouth": field(0, -6.0 * low),
        "smile": field(-3.5 * corners, 2.5 * np.abs(corners)),
        "blink": field(0, eyes),
        "brows": field(0, 3.5 * brows),
        "yaw": field(-depth, 0),
        "pitch": field(0, -depth),
    }
    return np.stack([bends[name] for name in BENDS])


def _maps(person: Person, pose: Pose, fields: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cv2.remap maps from the frame to the canvas: the head turns about the neck, the shoulders follow partly."""
    bend = np.tensordot(np.array([getattr(pose, name) for name in BENDS], np.float32), fields, 1)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    chin = point(person.points, "chin") - MARGIN
    follow = 1 - 0.6 / (1 + np.exp(-(y - chin[1] - 20) / 12))
    cos, sin = np.cos(pose.turn) / pose.scale, np.sin(pose.turn) / pose.scale
    ax, ay = x - pose.x - chin[0], y - pose.y - chin[1]
    at_x = x + MARGIN + follow * (cos * ax + sin * ay + chin[0] - x)
    at_y = y + MARGIN + follow * (-sin * ax + cos * ay + chin[1] - y)
    at_x, at_y = at_x.astype(np.float32), at_y.astype(np.float32)
    moved = cv2.remap(bend, at_x, at_y, cv2.INTER_LINEAR)
    return at_x + moved[..., 0], at_y + moved[..., 1]


def _light(direction: float, pose: Pose) -> np.ndarray:
    x = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None]
    y = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None]
    across = np.cos(direction) * x + np.sin(direction) * y
    return (pose.light * (1 + pose.slant * across))[..., None].astype(np.float32)

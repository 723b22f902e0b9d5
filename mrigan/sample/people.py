"""Invent people: a portrait is warped, recoloured and dressed until it looks like another person.

A person depends only on (seed, number). The two people of a pair come from different portraits, so that a swap between
them changes the face.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mrigan.sample.looks import Layers, dress
from mrigan.sample.portraits import INDEX, POINTS, Portrait, load_portraits, ring

WIDTH, HEIGHT = 384, 288  # px of a frame
MARGIN = 40  # px around the frame that motion may move into it
EYES = 66.0  # px between the eyes at rest; the face is then about 130 px wide
CENTRE = (192.0, 132.0)  # px in the frame: the point between the eyes at rest
CANVAS = (WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN)


@dataclass(frozen=True)
class Person:
    """A person at rest, on a canvas of the frame's size plus `MARGIN` on each side.

    Attributes:
        number: of the person in the sample.
        image: (h, w, 3) float32 RGB, 0..255. alpha: (h, w) float32 0..1, 1 = person, 0 = background.
        points: (38, 2) float64, canvas px, in the order of `POINTS`.
        background: (h, w, 3) float32 RGB.
        noise: standard deviation of the camera's noise, of 255. light: direction (radians) of the key light.
    """

    number: int
    image: np.ndarray
    alpha: np.ndarray
    points: np.ndarray
    background: np.ndarray
    noise: float
    light: float


def make_person(seed: int, number: int, portraits: list[Portrait] | None = None) -> Person:
    """Person `number` of the sample drawn from `seed`."""
    rng = np.random.default_rng([seed, number, 1])
    portrait = (portraits or load_portraits())[number % 2]
    if number // 2 % 2:
        portrait = portrait.mirrored()
    # The second portrait is warped less: a detector would lose a strongly warped face with glasses.
    points = _bend(_at_rest(portrait.points), 0.7 if number % 2 else 1.0, rng)
    maps = spline_maps(points, portrait.points, CANVAS, _anchors(portrait.points))
    image = np.clip(cv2.remap(portrait.image, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), 0, 255)
    alpha = cv2.remap(portrait.body, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    skin = cv2.remap(portrait.skin, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    image, alpha = dress(Layers(image, alpha, skin, points), number, rng)
    return Person(number, image, alpha, points, _background(rng), rng.uniform(0.5, 1.1), rng.uniform(0, 2 * np.pi))


def spline_maps(
    at: np.ndarray,
    source: np.ndarray,
    size: tuple[int, int],
    anchors: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """cv2.remap maps of a thin-plate spline that moves the points `source` (N, 2) px to `at` (N, 2) px of the result.

    Args:
        size: width, height of the result. anchors: further (at, source) points that fix the surroundings.
    """
    if anchors is not None:
        at, source = np.vstack([at, anchors[0]]), np.vstack([source, anchors[1]])
    n = len(at)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squared = ((a[:, None] - b[None]) ** 2).sum(-1)
        return squared * np.log(squared + 1e-9)

    def affine(a: np.ndarray) -> np.ndarray:
        return np.hstack([np.ones((len(a), 1)), a])

    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = kernel(at, at) + 20 * np.eye(n)  # regularized: smooth, without folds at close points
    system[:n, n:] = affine(at)
    system[n:, :n] = affine(at).T
    weights = np.linalg.solve(system, np.vstack([source, np.zeros((3, 2))]))
    width, height = size
    columns, rows = np.linspace(0, width - 1, width // 8), np.linspace(0, height - 1, height // 8)
    grid = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
    coarse = (kernel(grid, at) @ weights[:n] + affine(grid) @ weights[n:]).reshape(len(rows), len(columns), 2)
    # Not cv2.resize, which aligns pixel edges: this grid has points on the first and last pixel.
    x = np.linspace(0, len(columns) - 1, width, dtype=np.float32)
    y = np.linspace(0, len(rows) - 1, height, dtype=np.float32)
    lookup = np.meshgrid(x, y)
    fine = cv2.remap(coarse.astype(np.float32), *lookup, cv2.INTER_LINEAR)
    return np.ascontiguousarray(fine[..., 0]), np.ascontiguousarray(fine[..., 1])


def _at_rest(points: np.ndarray) -> np.ndarray:
    """The portrait's points after a similarity transform: eyes level, `EYES` px apart, centred at `CENTRE`."""
    left, right = (ring(points, f"eye_{side}_out", f"eye_{side}_in").mean(0) for side in "lr")
    across = right - left
    turn = np.array([[across[0], across[1]], [-across[1], across[0]]]) * EYES / (across @ across)
    return (points - (left + right) / 2) @ turn.T + CENTRE + MARGIN


def _anchors(source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points around the head (shoulders and corners) that move only by the similarity of `_at_rest`."""
    offsets = np.array([(x, y) for y in (-2.9, 3.4, 5.0) for x in (-4.2, -2.2, 0, 2.2, 4.2)]) * EYES
    rest = _at_rest(source)
    similarity, *_ = np.linalg.lstsq(np.hstack([rest, np.ones((len(rest), 1))]), source, rcond=None)
    at = offsets + CENTRE + MARGIN
    return at, np.hstack([at, np.ones((len(at), 1))]) @ similarity


def _bend(points: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Another face: features moved and scaled by random, clearly visible amounts (px at `EYES`, times `strength`)."""
    points = points.copy()

    def draw(amount: float) -> float:
        return float(rng.choice([-1, 1]) * rng.uniform(0.35, 1) * amount * strength)

    def names(*parts: str) -> list[int]:
        return [i for i, name in enumerate(POINTS) if name.startswith(parts)]

    def scale(which: list[int], x: float, y: float) -> None:
        centre = points[which].mean(0)
        points[which] = centre + (points[which] - centre) * (1 + x, 1 + y)

    gap, tilt, size, lift = draw(3.5), draw(2.2), draw(0.2), draw(3)
    brow, slant = draw(2.5) - 1, draw(2)
    for side, sign in (("l", -1), ("r", 1)):
        eye, line = names(f"eye_{side}"), names(f"brow_{side}")
        scale(eye, size, size * 1.2)
        points[eye + line] += (sign * gap, lift)
        points[INDEX[f"eye_{side}_out"]] += (0, tilt)
        points[line] += (0, brow)
        points[INDEX[f"brow_{side}_out"]] += (0, slant)
    nose = names("nose_t", "nose_l", "nose_r", "nose_b")
    scale(nose, draw(0.28), 0)
    longer = draw(5)
    points[[INDEX[n] for n in ("nose_tip", "nose_l", "nose_r", "nose_base")]] += (0, longer)
    mouth = names("mouth", "lip")
    scale(mouth, draw(0.2), draw(0.3))
    points[mouth] += (0, longer * 0.5 + draw(2.5))
    points[[INDEX["mouth_l"], INDEX["mouth_r"]]] += (0, draw(2))
    chin, jaw, cheek = draw(8), draw(0.1), draw(0.08)
    points[INDEX["chin"]] += (0, chin)
    cuts = (("low", 1.5 * jaw, 0.7 * chin), ("mid", 0.8 * (jaw + cheek), 0.3 * chin), ("top", cheek, 0))
    for row, wide, down in cuts:
        for side in "lr":
            place = points[INDEX[f"jaw_{side}_{row}"]]
            place += ((place[0] - CENTRE[0] - MARGIN) * wide, down)
    points[names("brim")] += (0, draw(4))
    volume = draw(0.1)
    for name, sign in (("hair_l", -1), ("hair_r", 1)):
        points[INDEX[name]] += (sign * volume * 100, 0)
    points[INDEX["hair_top"]] += (0, -volume * 90)
    return points


def _background(rng: np.random.Generator) -> np.ndarray:
    """A room out of focus: a wall with a gradient and a few large blurred objects."""
    width, height = CANVAS
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)

    def paint(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high) * 0.65 + rng.uniform(low, high, 3) * 0.35

    wall, floor = paint(50, 215), paint(40, 190)
    slope = np.clip((y / height - 0.5) * rng.uniform(0.5, 2) + 0.5 + (x / width - 0.5) * rng.uniform(-1, 1), 0, 1)
    image = (wall * (1 - slope[..., None]) + floor * slope[..., None]).astype(np.float32)
    for _ in range(int(rng.integers(3, 9))):
        colour = paint(20, 235)
        left, top = rng.uniform(-60, width), rng.uniform(-60, height)
        wide, high = rng.uniform(20, 150), rng.uniform(30, 220)
        if rng.random() < 0.7:
            cv2.rectangle(image, (int(left), int(top)), (int(left + wide), int(top + high)), colour.tolist(), -1)
        else:
            cv2.circle(image, (int(left), int(top)), int(wide / 2), colour.tolist(), -1)
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(2.5, 7))
    grain = cv2.GaussianBlur(rng.standard_normal((height, width), np.float32), (0, 0), 2) * 12
    return np.clip(blurred + grain[..., None], 0, 255)

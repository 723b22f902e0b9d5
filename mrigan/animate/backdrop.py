"""What lies behind the person in a still: a smooth studio wall, which can be continued; or anything else."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mrigan.animate.framing import Room
from mrigan.animate.portrait import CHIN, OVAL, Portrait

PLAIN = 7.0  # of 255: the mean distance of a studio's wall from a smooth surface
CLEAR = 10.0  # of 255: the wall is nearer to the smooth surface than this (99 of 100 px), if a person can be cut out
PERSON = 12.0  # of 255: what is farther from the wall than this is the person
CURLS = 0.03  # of the face's width squared: wall between curls; with more, a person is not cut out
FAINT = 6.0  # of 255: what is nearer is the wall


@dataclass(frozen=True)
class Backdrop:
    """What is behind a portrait.

    Args:
        plain: whether it is a smooth wall. If not, the rest means nothing.
        surface: (6, 3) coefficients of 1, x, y, x², xy, y² with x, y in -1..1 over the still, to RGB.
        matte: (H, W) float32, 0..1: how much of each pixel is the person's.
        clear: whether the matte is good enough to put the person before something else.
        shoulders: the first row of the still in which the person touches its left or right border.
    """

    plain: bool
    surface: np.ndarray
    matte: np.ndarray
    clear: bool
    shoulders: int

    def wall(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(len(y), len(x), 3) float32: the wall at columns x and rows y, -1..1 over the still."""
        return _surface(self.surface, _slowed(x), _slowed(y))


def find_backdrop(portrait: Portrait) -> Backdrop:
    """Fit a smooth wall to the still's upper and side borders, then to all that is like it, and cut out the person."""
    image = portrait.image
    height, width = image.shape[:2]
    ys, xs = np.mgrid[0:height:6, 0:width:6]
    terms = _terms(xs * 2 / (width - 1) - 1, ys * 2 / (height - 1) - 1)
    colours = image[::6, ::6].astype(np.float64)
    chin = portrait.mesh[CHIN, 1]
    rim = (ys < 0.06 * height) | (((xs < 0.07 * width) | (xs > 0.93 * width)) & (ys < chin))
    good, tolerance = rim, np.inf
    for part in (rim, rim, rim, rim, np.ones_like(rim)):
        surface, *_ = np.linalg.lstsq(terms[good], colours[good], rcond=None)
        away = np.abs(colours - terms @ surface).max(2)
        tolerance = max(2.5 * float(np.median(away[part & (away < tolerance)])), 4.0)
        good = part & (away < tolerance)
        if part is rim:
            plain = bool(np.median(away[rim]) < PLAIN and good.sum() > 0.6 * rim.sum())
    surface, *_ = np.linalg.lstsq(terms[good], colours[good], rcond=None)
    wall = _surface(surface, np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    distance = np.abs(image - wall).max(2)
    matte, outline, between = _cut_out(distance, portrait)
    sides = np.flatnonzero(outline[:, :2].any(1) | outline[:, -2:].any(1))
    shoulders = int(sides[0]) if len(sides) else height
    around = distance[cv2.dilate(outline, _disc(portrait.width * 0.06)) == 0]
    plain = plain and shoulders > chin  # else something stands before the wall
    clear = plain and between < CURLS and around.size > 0 and np.percentile(around, 99) < CLEAR
    return Backdrop(plain, surface, matte, bool(clear), shoulders)


def room_of(portrait: Portrait, backdrop: Backdrop) -> Room:
    """How far a view may reach: a smooth wall has no end, the person ends where the still does."""
    height, width = portrait.image.shape[:2]
    x, y = portrait.centre
    face = portrait.box[2] - portrait.box[0]
    if backdrop.plain:
        return Room(face, np.inf, np.inf, np.inf, (backdrop.shoulders - y) / face)
    return Room(face, x / face, (width - x) / face, y / face, (height - y) / face)


def _cut_out(distance: np.ndarray, portrait: Portrait) -> tuple[np.ndarray, np.ndarray, float]:
    """Cut out the person.

    Inside, the matte is 1. In a seam along the outline it is the distance from the wall over that of the person nearby:
    so a hair, half hair and half wall, is half the person's.

    Returns:
        The matte (H, W) 0..1; the outline (H, W) uint8, without holes; and how much wall the outline may hold between
        curls, over the square of the face's width.
    """
    likely = cv2.morphologyEx((distance > PERSON).astype(np.uint8), cv2.MORPH_CLOSE, _disc(portrait.width * 0.02))
    oval = [portrait.mesh[list(OVAL), :2].astype(np.int32)]
    cv2.fillPoly(likely, oval, 1)
    closed = cv2.copyMakeBorder(likely, 1, 0, 1, 1, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.copyMakeBorder(closed, 0, 1, 0, 0, cv2.BORDER_CONSTANT, value=1)  # below, the person goes on
    cv2.floodFill(closed, None, (0, 0), 2)
    _, parts = cv2.connectedComponents((closed[1:-1, 1:-1] != 2).astype(np.uint8))
    x, y = portrait.centre.astype(int)
    outline = (parts == parts[y, x]).astype(np.uint8)
    seam = portrait.width * 0.05
    core = cv2.erode(outline, _disc(seam / 2))
    usual = _around(np.maximum(distance, PERSON), core, seam)
    share = np.clip((distance - FAINT) / np.maximum(0.8 * usual - FAINT, 1.0), 0, 1)
    near = cv2.dilate(outline, _disc(seam))
    matte = np.where(core > 0, 1.0, np.where(near > 0, share, 0.0)).astype(np.float32)
    doubtful = (outline > 0) & (distance < PERSON)
    cv2.fillPoly(face := np.zeros_like(outline), oval, 1)
    doubtful &= cv2.dilate(face, _disc(seam)) == 0
    doubtful[int(portrait.mesh[CHIN, 1] + 0.3 * portrait.width) :] = False  # linen may be as white as the wall
    return cv2.GaussianBlur(matte, (0, 0), 0.7), outline, float(doubtful.sum() / portrait.width**2)


def _around(values: np.ndarray, where: np.ndarray, reach: float) -> np.ndarray:
    """At each pixel, the mean of the values nearby, of those pixels that count; at a quarter of the size."""
    small = [
        cv2.resize(part.astype(np.float32), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        for part in (values * where, where)
    ]
    total, count = (cv2.GaussianBlur(part, (0, 0), reach / 4) for part in small)
    return cv2.resize(total / np.maximum(count, 1e-3), values.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _disc(radius: float) -> np.ndarray:
    side = 2 * max(round(radius), 1) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _slowed(values: np.ndarray) -> np.ndarray:
    """Places beyond the still, drawn in towards it: a parabola that is followed too far turns black or white."""
    beyond = np.maximum(np.abs(values) - 0.9, 0)
    return np.sign(values) * (np.minimum(np.abs(values), 0.9) + 0.3 * np.tanh(beyond / 0.3))


def _surface(coefficients: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The wall's colour, (len(y), len(x), 3) float32: a parabola in x for each row."""
    one, cx, cy, cxx, cxy, cyy = (coefficients[i][None, None].astype(np.float32) for i in range(6))
    x, y = x.astype(np.float32)[None, :, None], y.astype(np.float32)[:, None, None]
    return (one + cy * y + cyy * y * y) + (cx + cxy * y) * x + cxx * x * x


def _terms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x, np.float64), x, y, x * x, x * y, y * y], -1)

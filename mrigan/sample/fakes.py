"""Fakes of an original, frame by frame: another face (or its own, changed) seen through a soft mask that moves with it.

Four kinds, each with the trace that its model leaves: `self` (self-blended: the own face, a little larger, recoloured),
`poisson` (a swap, gradients blended), `paste` (a swap whose colours do not fit), `generator` (a swap through the small
picture that an autoencoder makes: blurred, with a grid). Outside the mask nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from mrigan.sample.motion import Frame
from mrigan.sample.people import CANVAS, Person, spline_maps
from mrigan.sample.portraits import point, polygon_mask, ring

FACE = ("jaw_l_top", "jaw_l_mid", "jaw_l_low", "chin", "jaw_r_low", "jaw_r_mid", "jaw_r_top")
BROWS = ("brow_r_out", "brow_r_mid", "brow_r_in", "brow_l_in", "brow_l_mid", "brow_l_out")

# From an original's frame to the fake's, (H, W, 3) float32 RGB 0..255; called once for each frame, in order.
Forger = Callable[[Frame], np.ndarray]
Maker = Callable[[Person, Person, np.random.Generator], Forger]  # from target, donor and the clip's random numbers


class Layer:
    """A face (h, w, 3) and how much of it is seen (h, w), 0..1, both on the target's canvas; each frame shakes it.

    Args:
        shake: px, standard deviation of the error of the landmarks that a real pipeline would align the face by.
    """

    def __init__(self, face: np.ndarray, seen: np.ndarray, rng: np.random.Generator, shake: float) -> None:
        self._pixels = cv2.merge([*cv2.split(face.astype(np.float32)), seen])
        self._rng, self._shake = rng, shake
        left, top, width, height = cv2.boundingRect((seen > 0.001).astype(np.uint8))
        self._box = left, top, left + width, top + height

    def place(self, frame: Frame) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
        """(window of the frame, face there under the frame's light, how much of it is seen there (h, w, 1))."""
        window = self._window(frame)
        shift = self._rng.normal(0, self._shake, 2).astype(np.float32)
        maps = frame.maps[0][window] + shift[0], frame.maps[1][window] + shift[1]
        moved = cv2.remap(self._pixels, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return window, moved[..., :3] * frame.light[window], moved[..., 3:]

    def _window(self, frame: Frame, step: int = 8) -> tuple[slice, slice]:
        """The part of the frame that the mask can reach, found on every 8th pixel."""
        x, y = frame.maps[0][::step, ::step], frame.maps[1][::step, ::step]
        left, top, right, bottom = self._box
        hit = (x > left - step) & (x < right + step) & (y > top - step) & (y < bottom + step)
        rows, columns = np.flatnonzero(hit.any(1)), np.flatnonzero(hit.any(0))
        return (
            slice(max(0, rows[0] - 1) * step, (rows[-1] + 2) * step),
            slice(max(0, columns[0] - 1) * step, (columns[-1] + 2) * step),
        )


def self_blended(target: Person, donor: Person, rng: np.random.Generator) -> Forger:
    """The own face moved, resized and bent by some px, of another brightness and hue, softer or sharper."""
    points = target.points.copy()
    centre = point(points, "nose_tip")
    points = centre + (points - centre) * (1 + rng.choice([-1, 1], 2) * rng.uniform(0.03, 0.06, 2))
    points += rng.choice([-1, 1], 2) * rng.uniform(1.5, 3, 2) + rng.normal(0, 0.8, points.shape)
    face = _tinted(_bent(target.image, target.points, points), rng, 5)
    if rng.random() < 0.5:
        face = cv2.GaussianBlur(face, (0, 0), 1.0)
    else:
        face = face + 0.5 * (face - cv2.GaussianBlur(face, (0, 0), 1.5))
    return _blend(Layer(face, _mask(target, 0.95, 5), rng, 0.5))


def poisson(target: Person, donor: Person, rng: np.random.Generator) -> Forger:
    """The donor's face by Poisson blending (Perez et al., 2003): its gradients, the target's colours at the rim."""
    layer = Layer(_matched(_borrowed(target, donor), target, 0.6), _mask(target, 0.91, 1), rng, 0.4)

    def forge(frame: Frame) -> np.ndarray:
        window, face, seen = layer.place(frame)
        mask = (seen[..., 0] > 0.5).astype(np.uint8) * 255
        left, top, width, height = cv2.boundingRect(mask)
        under, over = (np.clip(pixels, 0, 255).astype(np.uint8) for pixels in (frame.image[window], face))
        # It writes into the mask that it is given.
        cloned = cv2.seamlessClone(over, under, mask.copy(), (left + width // 2, top + height // 2), cv2.NORMAL_CLONE)
        image = frame.image.copy()
        rim = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 1.5)[..., None]
        image[window] += rim * (cloned - image[window])
        return image

    return forge


def paste(target: Person, donor: Person, rng: np.random.Generator) -> Forger:
    """The donor's face with half fitted colours, which flicker a little, and a narrow rim."""
    face = _tinted(_matched(_borrowed(target, donor), target, 0.55), rng, 7)
    layer = Layer(face, _mask(target, 0.89, 2.5), rng, 0.6)
    return _blend(layer, lambda: 1 + 0.025 * float(rng.standard_normal()))


def generator(target: Person, donor: Person, rng: np.random.Generator) -> Forger:
    """The donor's face as a small network makes it: few pixels, and the grid of its transposed convolutions."""
    face = _matched(_borrowed(target, donor), target, 0.9)
    factor = rng.uniform(3.2, 4.2)
    width, height = CANVAS
    small = cv2.resize(face, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
    grid = np.where(np.add.outer(np.arange(height) // 2, np.arange(width) // 2) % 2, 1, -1).astype(np.float32)
    face = cv2.resize(small, CANVAS, interpolation=cv2.INTER_CUBIC) + rng.uniform(3, 5) * grid[..., None]
    return _blend(Layer(face, _mask(target, 0.97, 6), rng, 0.4))


KINDS: dict[str, Maker] = {"self": self_blended, "poisson": poisson, "paste": paste, "generator": generator}


def _blend(layer: Layer, gain: Callable[[], float] = lambda: 1.0) -> Forger:
    """The layer over the frame; `gain` is the layer's brightness in each frame."""

    def forge(frame: Frame) -> np.ndarray:
        window, face, seen = layer.place(frame)
        image = frame.image.copy()
        image[window] += seen * (np.float32(gain()) * face - image[window])
        return image

    return forge


def _bent(image: np.ndarray, source: np.ndarray, at: np.ndarray) -> np.ndarray:
    """`image` so that what lies on the points `source` lies on the points `at`."""
    return cv2.remap(image, *spline_maps(at, source, CANVAS), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _borrowed(target: Person, donor: Person) -> np.ndarray:
    """The donor's face bent to the target's points; a trace of the target stays in it, as in real swaps."""
    return 0.8 * _bent(donor.image, donor.points, target.points) + 0.2 * target.image


def _mask(person: Person, size: float, blur: float) -> np.ndarray:
    """(h, w) float32: the face from above the brows to the chin, its hull scaled by `size`, its rim `blur` px soft."""
    points = np.vstack([ring(person.points, *FACE), ring(person.points, *BROWS) - (0, 9)])
    hull = cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)
    return polygon_mask([hull.mean(0) + (hull - hull.mean(0)) * size], (CANVAS[1], CANVAS[0]), blur)


def _matched(face: np.ndarray, target: Person, strength: float) -> np.ndarray:
    """`face` with mean and spread of each CIELAB channel drawn to the target's (Reinhard et al., 2001)."""
    inside = _mask(target, 0.82, 1) > 0.5
    lab, wanted = _lab(face), _lab(target.image)[inside]
    fitted = (lab - lab[inside].mean(0)) * wanted.std(0) / (lab[inside].std(0) + 1e-3) + wanted.mean(0)
    return _rgb(lab + strength * (fitted - lab))


def _tinted(face: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Another brightness and hue: each CIELAB channel moved by `amount` / 2 to `amount`."""
    return _rgb(_lab(face) + rng.choice([-1, 1], 3) * rng.uniform(0.5, 1, 3) * amount)


def _lab(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.clip(image, 0, 255).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _rgb(lab: np.ndarray) -> np.ndarray:
    return np.clip(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB) * 255, 0, 255)

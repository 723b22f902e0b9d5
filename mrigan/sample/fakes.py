"""Make fakes frame by frame: blend another face (or the changed own face) into the original with a soft moving mask.

Four kinds, with the traces of real methods: `self` (self-blended: the own face, resized and recoloured), `poisson` (a
swap with blended gradients), `paste` (a swap with wrong colours), `generator` (a swap with the low resolution and the
grid of an autoencoder). Pixels outside the mask do not change.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from mrigan.sample.motion import MotionFrame
from mrigan.sample.people import CANVAS, Person, spline_maps
from mrigan.sample.portraits import point, polygon_mask, ring

FACE = ("jaw_l_top", "jaw_l_mid", "jaw_l_low", "chin", "jaw_r_low", "jaw_r_mid", "jaw_r_top")
BROWS = ("brow_r_out", "brow_r_mid", "brow_r_in", "brow_l_in", "brow_l_mid", "brow_l_out")

# Frame of the original → frame of the fake, (H, W, 3) float32 RGB 0..255; called once per frame, in order.
Forger = Callable[[MotionFrame], np.ndarray]
Maker = Callable[[Person, Person, np.random.Generator], Forger]  # of target, donor and the clip's random generator


class FaceLayer:
    """A face (h, w, 3) and its mask (h, w), 0..1, on the target's canvas; each frame moves it by a random error.

    Args:
        shake: px, standard deviation of that error; it simulates the error of landmarks in a real pipeline.
    """

    def __init__(self, face: np.ndarray, seen: np.ndarray, rng: np.random.Generator, shake: float) -> None:
        self._pixels = cv2.merge([*cv2.split(face.astype(np.float32)), seen])
        self._rng, self._shake = rng, shake
        left, top, width, height = cv2.boundingRect((seen > 0.001).astype(np.uint8))
        self._box = left, top, left + width, top + height

    def place(self, frame: MotionFrame) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
        """(window of the frame, face in the window under the frame's light, mask in the window (h, w, 1))."""
        window = self._window(frame)
        shift = self._rng.normal(0, self._shake, 2).astype(np.float32)
        maps = frame.maps[0][window] + shift[0], frame.maps[1][window] + shift[1]
        moved = cv2.remap(self._pixels, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return window, moved[..., :3] * frame.light[window], moved[..., 3:]

    def _window(self, frame: MotionFrame, step: int = 8) -> tuple[slice, slice]:
        """The part of the frame that the mask can reach, estimated on every 8th pixel."""
        x, y = frame.maps[0][::step, ::step], frame.maps[1][::step, ::step]
        left, top, right, bottom = self._box
        hit = (x > left - step) & (x < right + step) & (y > top - step) & (y < bottom + step)
        rows, columns = np.flatnonzero(hit.any(1)), np.flatnonzero(hit.any(0))
        return (
            slice(max(0, rows[0] - 1) * step, (rows[-1] + 2) * step),
            slice(max(0, columns[0] - 1) * step, (columns[-1] + 2) * step),
        )


def self_blended(target: Person, donor: Person, rng: np.random.Generator) -> Forger:
    """The own face, moved, resized and bent by some px, with another brightness, hue and sharpness."""
    points = target.points.copy()
    centre = point(points, "nose_tip")
    points = centre + (points - centre) * (1 + rng.choice([-1, 1], 2) * rng.uniform(0.03, 0.06, 2))
    points += rng.choice([-1, 1], 2) * rng.uniform(1.5, 3, 2) + rng.normal(0, 0.8, points.shape)
    face = _tinted(_bent(target.image, target.points, points), rng, 5)
    if rng.random() < 0.5:
        face = cv2.GaussianBlur(face, (0, 0), 1.0)
    else:
        face = face + 0.5 * (face - cv2.GaussianBlur(face, (0, 0), 1.5))
    return _blend(FaceLayer(face, _mask(target, 0.95, 5), rng, 0.5))


def poisson(target: Person, donor: Person, rng: np.random.Generator) -> Forger:
    """The donor's face by Poisson blending (Perez et al., 2003): its gradients, the target's colours at the edge."""
    layer = FaceLayer(_matched(_borrowed(target, donor), target, 0.6), _mask(target, 0.91, 1), rng, 0.4)

    def forge(frame: MotionFrame) -> np.ndarray:
        window, face, seen = layer.place(frame)
        mask = (seen[..., 0] > 0.5).astype(np.uint8) * 255
        left, top, width, height = cv2.boundingRect(mask)
        under, over = (np.clip(pixels, 0, 255).astype(np.uint8) for pixels in (frame.image[window], face))
        # seamlessClone changes its mask.
        cloned = cv2.seamlessClone(over, under, mask.copy(), (left + width // 2, top + height // 2), cv2.NORMAL_CLONE)
        image = frame.image.copy()
        rim = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 1.5)[..., None]
        image[window] += rim * (cloned - image[window])
        return image

    return forge


def paste(target: Person, donor: Person, rng: np.random.Generator) -> Forger:
    """The donor's face with partly matched, slightly flickering colours and a narrow edge."""
    face = _tinted(_matched(_borrowed(target, donor), target, 0.55), rng, 7)
    layer = FaceLayer(face, _mask(target, 0.89, 2.5), rng, 0.6)
    return _blend(layer, lambda: 1 + 0.025 * float(rng.standard_normal()))


def generator(target: Person, donor: Person, rng: np.random.Generator) -> Forger:
    """The donor's face as from a small network: low resolution, and the grid of its transposed convolutions."""
    face = _matched(_borrowed(target, donor), target, 0.9)
    factor = rng.uniform(3.2, 4.2)
    width, height = CANVAS
    small = cv2.resize(face, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
    grid = np.where(np.add.outer(np.arange(height) // 2, np.arange(width) // 2) % 2, 1, -1).astype(np.float32)
    face = cv2.resize(small, CANVAS, interpolation=cv2.INTER_CUBIC) + rng.uniform(3, 5) * grid[..., None]
    return _blend(FaceLayer(face, _mask(target, 0.97, 6), rng, 0.4))


KINDS: dict[str, Maker] = {"self": self_blended, "poisson": poisson, "paste": paste, "generator": generator}


def _blend(layer: FaceLayer, gain: Callable[[], float] = lambda: 1.0) -> Forger:
    """Blend the layer over the frame; `gain` is the layer's brightness in each frame."""

    def forge(frame: MotionFrame) -> np.ndarray:
        window, face, seen = layer.place(frame)
        image = frame.image.copy()
        image[window] += seen * (np.float32(gain()) * face - image[window])
        return image

    return forge


def _bent(image: np.ndarray, source: np.ndarray, at: np.ndarray) -> np.ndarray:
    """`image` warped so that the points `source` move to the points `at`."""
    return cv2.remap(image, *spline_maps(at, source, CANVAS), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _borrowed(target: Person, donor: Person) -> np.ndarray:
    """The donor's face warped to the target's points, mixed with a little of the target's face, as in real swaps."""
    return 0.8 * _bent(donor.image, donor.points, target.points) + 0.2 * target.image


def _mask(person: Person, size: float, blur: float) -> np.ndarray:
    """(h, w) float32: the face from above the brows to the chin, its hull scaled by `size`, its edge `blur` px soft."""
    points = np.vstack([ring(person.points, *FACE), ring(person.points, *BROWS) - (0, 9)])
    hull = cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)
    return polygon_mask([hull.mean(0) + (hull - hull.mean(0)) * size], (CANVAS[1], CANVAS[0]), blur)


def _matched(face: np.ndarray, target: Person, strength: float) -> np.ndarray:
    """`face` with the mean and spread of each CIELAB channel moved to the target's (Reinhard et al., 2001)."""
    inside = _mask(target, 0.82, 1) > 0.5
    lab, goal = _lab(face), _lab(target.image)[inside]
    fitted = (lab - lab[inside].mean(0)) * goal.std(0) / (lab[inside].std(0) + 1e-3) + goal.mean(0)
    return _rgb(lab + strength * (fitted - lab))


def _tinted(face: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Another brightness and hue: each CIELAB channel moved by `amount` / 2 to `amount`."""
    return _rgb(_lab(face) + rng.choice([-1, 1], 3) * rng.uniform(0.5, 1, 3) * amount)


def _lab(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.clip(image, 0, 255).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _rgb(lab: np.ndarray) -> np.ndarray:
    return np.clip(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB) * 255, 0, 255)

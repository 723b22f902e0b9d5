"""What is done to the frames of a family before its faces are cut: noise, augmentation, distraction.

A treatment is the same for the original and every fake, in all their frames. Noise and the places of spontaneous
distractions are drawn for each frame from (seed, family, frame), so that both sides of a pair get the same ones. A
sample's json carries the record, which is enough to do the same to the same frame again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from mrigan.imaging.augmentation import AUGMENTATIONS
from mrigan.imaging.coordinates import Box, Size, move_box, move_points
from mrigan.imaging.distraction import DISTRACTIONS
from mrigan.imaging.methods import Method
from mrigan.imaging.noise import NOISES, uniform_field
from mrigan.imaging.picture import Picture, on_frame, operations

Points = tuple[tuple[float, float], ...]

DrawKey = tuple[int, str, int, int]  # of random numbers: seed, family, number of the step, frame of the original

METHODS: dict[str, dict[str, Method]] = {
    "noise": NOISES,
    "augmentation": AUGMENTATIONS,
    "distraction": DISTRACTIONS,
}
FIELDS = 2  # of noise that are kept: for a frame's original and its fakes, of one size or of two


@dataclass(frozen=True)
class Step:
    """One thing that is done to every frame.

    Args:
        kind: a key of `METHODS`. name: one of its methods. settings: the method's parameters, as they go into json.
    """

    kind: str
    name: str
    settings: Mapping[str, Any]

    @property
    def method(self) -> Method:
        """Its entry in `METHODS`."""
        return METHODS[self.kind][self.name]

    def apply(self, picture: Picture, key: DrawKey) -> Picture:
        """An (H, W, 3) array or (N, 3, H, W) planes → the same, of another size after a rescale; left as they are."""
        if self.kind == "noise":
            do = operations(picture)
            field = _field(do, do.size(picture), do.device(picture), key)
            return self.method.apply(picture, field, **self.settings)
        if self.kind == "distraction":
            rng = frame_generator(*key)
            return self.method.apply(picture, rng=rng, frame=key[-1], **self.settings)
        return self.method.apply(picture, **self.settings)

    def matrix(self, size: Size) -> tuple[np.ndarray, Size]:
        """Where a point of a (width, height) picture lies in the changed one, and the new (width, height).

        A (3, 3) float64 affine matrix for columns (x, y, 1).
        """
        moves = self.method.moves
        return (np.eye(3), size) if moves is None else moves(size, **self.settings)


@dataclass(frozen=True)
class Treatment:
    """The steps for one family, in the order of their application."""

    seed: int
    family: str
    steps: tuple[Step, ...]

    def apply(self, image: Picture, frame: int) -> Picture:
        """Treat a frame, on the device where it lies.

        Args:
            image: (H, W, 3) uint8 RGB, left as it is.
            frame: its index in the original; a fake's frame takes that of the original's frame which it shows.
        """
        return on_frame(image, lambda picture: self.apply_to_all(picture, frame))

    def apply_to_all(self, picture: Picture, frame: int) -> Picture:
        """As `apply`, of an array, or of (N, 3, H, W) planes that all show one frame: an original's and its fakes'."""
        for number, step in enumerate(self.steps):
            picture = step.apply(picture, (self.seed, self.family, number, frame))
        return picture

    def matrix(self, size: Size) -> tuple[np.ndarray, Size]:
        """Where the points of a (width, height) frame lie in the treated one, as a (3, 3) matrix; and its size."""
        product = np.eye(3)
        for step in self.steps:
            matrix, size = step.matrix(size)
            product = matrix @ product
        return product, size

    def motion(self) -> Treatment | None:
        """Only what moves pixels (rotation, flip, rescale): clean pictures where the treated ones have theirs.

        None = nothing is moved.
        """
        steps = tuple(step for step in self.steps if step.method.moves)
        return replace(self, steps=steps) if steps else None

    def move(self, box: Box, points: Points, size: Size) -> tuple[Box, Points] | None:
        """A face's box and points in a (width, height) frame, as they lie in the treated one; None = out of sight."""
        matrix, new_size = self.matrix(size)
        moved = move_box(matrix, box, new_size)
        return (moved, tuple(move_points(matrix, points))) if moved else None

    def record(self, frame: int) -> dict[str, Any]:
        """For a sample's json: the frame's index and all that was drawn."""
        return {**self.as_dict(), "frame": frame}

    def as_dict(self) -> dict[str, Any]:
        """What is the same for all frames, for json."""
        steps = [{"kind": step.kind, "name": step.name, **step.settings} for step in self.steps]
        return {"seed": self.seed, "family": self.family, "steps": steps}


@lru_cache(maxsize=FIELDS)
def _field(do: Any, size: Size, device: str, key: DrawKey) -> Picture:
    return do.placed(uniform_field(frame_generator(*key), (size[1], size[0], 3)), device)


def frame_generator(seed: int, family: str, step: int, frame: int) -> np.random.Generator:
    """Draws what one step of a family's treatment needs for one frame."""
    digest = hashlib.sha256(json.dumps([seed, family, step, frame]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))

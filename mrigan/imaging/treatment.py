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
from typing import Any

import numpy as np

from mrigan.imaging.augmentation import AUGMENTATIONS, MOVES, Box, Size, augmentation_matrix, move_box, move_points
from mrigan.imaging.distraction import DISTRACTIONS, distract
from mrigan.imaging.noise import NOISES
from mrigan.imaging.picture import Picture, is_array

Points = tuple[tuple[float, float], ...]

METHODS: dict[str, tuple[str, ...]] = {
    "noise": tuple(NOISES),
    "augmentation": tuple(AUGMENTATIONS),
    "distraction": DISTRACTIONS,
}


@dataclass(frozen=True)
class Step:
    """One thing that is done to every frame.

    Args:
        kind: a key of `METHODS`. name: one of its methods. settings: the method's parameters, as they go into json.
    """

    kind: str
    name: str
    settings: Mapping[str, Any]

    def apply(self, image: np.ndarray, rng: np.random.Generator, frame: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB → the same, of another size after a rescale. The picture given is left as it is."""
        if self.kind == "noise":
            return NOISES[self.name](image, rng, **self.settings)
        if self.kind == "augmentation":
            return AUGMENTATIONS[self.name](image, **self.settings)
        return distract(image, self.name, rng, frame, **self.settings)

    def matrix(self, size: Size) -> tuple[np.ndarray, Size]:
        """Where the points of a (width, height) picture go, and the new size."""
        if self.kind != "augmentation":
            return np.eye(3), size
        return augmentation_matrix(self.name, size, **self.settings)


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
        if not is_array(image):
            from mrigan.imaging.device import batched, single, treat

            return single(treat(self, batched(image), frame))
        for number, step in enumerate(self.steps):
            image = step.apply(image, frame_generator(self.seed, self.family, number, frame), frame)
        return image

    def matrix(self, size: Size) -> tuple[np.ndarray, Size]:
        """Where the points of a (width, height) frame lie in the treated one, as a (3, 3) matrix; and its size."""
        whole = np.eye(3)
        for step in self.steps:
            matrix, size = step.matrix(size)
            whole = matrix @ whole
        return whole, size

    def motion(self) -> Treatment | None:
        """Only what moves pixels (rotation, flip, rescale): clean pictures where the treated ones have theirs.

        None = nothing is moved.
        """
        steps = tuple(step for step in self.steps if step.kind == "augmentation" and step.name in MOVES)
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

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Treatment:
        """The treatment that left this record."""
        steps = [dict(step) for step in record["steps"]]
        return cls(
            record["seed"],
            record["family"],
            tuple(Step(step.pop("kind"), step.pop("name"), step) for step in steps),
        )


def frame_generator(seed: int, family: str, step: int, frame: int) -> np.random.Generator:
    """Draws what one step of a family's treatment needs for one frame."""
    digest = hashlib.sha256(json.dumps([seed, family, step, frame]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))

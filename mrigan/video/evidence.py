"""What the frames of an original and of a fake tell about their moments, gathered while both are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrigan.imaging.picture import Picture, grey
from mrigan.video.frames import Decoded, Frame
from mrigan.video.geometry import FLAT, Geometry, geometries, spread
from mrigan.video.lags import Sight
from mrigan.video.moments import Decision, decide
from mrigan.video.points import fake_points, outside
from mrigan.video.window import Greys

AROUND = 0.15  # of a face's box on each side, which a forgery may touch
Boxes = Sequence[Sequence[float]]


class Evidence:
    """Points of both clips, in every geometry that the pair may have.

    Args:
        original, fake: (h, w, 3), the first frames at hand; only their sizes count, unless they differ.
        greys: of the original.
    """

    def __init__(self, original: Picture, fake: Picture, greys: Greys) -> None:
        self._greys = greys
        self._alike = original.shape[:2] == fake.shape[:2]
        self._settled = self._alike
        self._fakes: dict[bool, Sight] = {}  # by whether its points are averages
        self._originals: dict[Geometry, tuple[Sight, dict[int, np.ndarray]]] = {}
        self._take(grey(original), grey(fake))

    def _take(self, original: np.ndarray, fake: np.ndarray) -> None:
        for geometry in geometries(original, fake):
            self._originals.setdefault(geometry, (Sight(), {}))
            self._fakes.setdefault(_averaged(geometry), Sight())

    def forget_fake(self) -> None:
        """Begin the fake anew."""
        self._fakes = {averaged: Sight() for averaged in self._fakes}

    def add_fake(self, decoded: Decoded) -> None:
        """Take a frame of the fake."""
        for averaged, sight in self._fakes.items():
            sight.add(decoded.index, decoded.time, fake_points(decoded, averaged))

    def add_original(self, frame: Frame, boxes: Boxes, fake: Decoded | None) -> None:
        """Take a wanted frame of the original.

        Args:
            boxes: of its faces, in px. fake: the frame of the same index, where a cut-out window may be searched.
        """
        if not self._settled and fake is not None:
            original, other = self._greys(frame), grey(fake.frame().image)
            if spread(original) > FLAT and spread(other) > FLAT:
                self._settled = True
                self._take(original, other)
        for geometry, (sight, masks) in self._originals.items():
            sight.add(frame.index, frame.time, self._greys.points(frame, geometry))
            masks[frame.index] = outside([geometry.moved(box) for box in boxes], geometry.size, AROUND)

    def decide(self, *, complete: bool, furthest: int) -> Decision:
        """What the clips tell in the likeliest geometry that proves something."""
        found = [
            decide(sight, masks, self._fakes[_averaged(geometry)], complete=complete, furthest=furthest)
            for geometry, (sight, masks) in self._originals.items()
            if sight.points
        ]
        for good in (lambda one: one.proven, lambda one: one.unsure, lambda one: bool(one.targets)):
            if chosen := [one for one in found if good(one)]:
                return chosen[0]
        return found[0] if found else Decision()


def _averaged(geometry: Geometry) -> bool:
    """Whether the pixels of the fake lie elsewhere than the original's, so that only averages can be compared."""
    return geometry.scale != (1.0, 1.0)

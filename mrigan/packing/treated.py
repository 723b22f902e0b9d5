"""A family's frames as they are stored: as decoded, or treated by the recipe; and where its faces lie in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np

from mrigan.catalog import Family
from mrigan.config import ShardsConfig
from mrigan.imaging.coordinates import Box, Size, move_box
from mrigan.imaging.picture import Picture
from mrigan.video import Face, Frame, Geometry, Paired, Treatment, draw_treatment

Clock = Callable[[str], AbstractContextManager[None]]
Points = tuple[tuple[float, float], ...]


class Treated:
    """What the recipe does to one family.

    Fakes are aligned and compared with their original as they were decoded; both are treated after that, in the pair's
    geometry and under the original's frame number, so that the treatment adds nothing to their difference.

    Args:
        treatment: None = frames stay as decoded.
        stages: the worker's clock.
        after: faces were found in treated frames (`recipe.detect_on`), so boxes are theirs already.
        clean_mri: MRIs are of the pair without noise, distraction and changed values (`recipe.mri_of`).
    """

    def __init__(
        self, treatment: Treatment | None, stages: Clock, *, after: bool = False, clean_mri: bool = False
    ) -> None:
        self.treatment, self.stages, self.after = treatment, stages, after
        self.clean_mri = clean_mri and treatment is not None
        self._frame: Frame | None = None  # the last one, and what was made of it
        self._views: dict[Geometry | None, Picture] = {}

    @classmethod
    def of(cls, family: Family, config: ShardsConfig, stages: Clock) -> Treated:
        """Draw what the family gets."""
        dataset = family.clips[0].dataset
        treatment = draw_treatment(config.recipe, config.pack.seed, family.id, dataset)
        recipe = config.recipe
        return cls(treatment, stages, after=recipe.detect_on == "augmented", clean_mri=recipe.mri_of == "clean")

    @property
    def detected(self) -> Treatment | None:
        """What is done to frames before faces are looked for."""
        return self.treatment if self.after else None

    def before(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames in which faces are looked for."""
        for frame in frames:
            yield replace(frame, image=self.image(frame)) if self.detected else frame

    def image(self, frame: Frame) -> Picture:
        """A frame of the clip in which the faces were found; computed once, however many faces it shows."""
        return self._view(frame, frame.image, None)

    def pair(self, frame: Frame, paired: Paired) -> tuple[Picture, Picture]:
        """The pictures of a pair, the original's first."""
        assert paired.original is not None
        assert paired.fake is not None
        assert paired.geometry is not None
        if self.treatment is None:
            return paired.original, paired.fake
        same = paired.geometry.whole(_size(frame.image))
        original = self._view(frame, paired.original, None if same else paired.geometry)
        with self.stages("treat"):
            return original, self.treatment.apply(paired.fake, frame.index)

    def mri_pair(self, frame: Frame, paired: Paired) -> tuple[Picture, Picture] | None:
        """The pictures whose difference is the MRI, the original's first; None = those of `pair`.

        They lie as those of `pair` do, pixel by pixel, so that one box cuts a face and its MRI.
        """
        if not self.clean_mri or paired.original is None or paired.fake is None:
            return None
        assert self.treatment is not None
        motion = self.treatment.motion()
        if motion is None:
            return paired.original, paired.fake
        with self.stages("treat"):
            return motion.apply(paired.original, frame.index), motion.apply(paired.fake, frame.index)

    def face(self, face: Face, image: Picture) -> Face | None:
        """Where a face that was found in this (decoded) frame lies in the stored one; None = out of sight."""
        if self.treatment is None or self.after:
            return face
        moved = self.treatment.move(face.box, face.points, _size(image))
        return replace(face, box=moved[0], points=moved[1]) if moved else None

    def boxes(self, box: Box, geometry: Geometry, frame: Frame) -> tuple[Box | None, Box | None]:
        """A box found in the original's frame, in the pictures of a pair: as decoded, and as stored.

        None where that picture does not show the face whole.
        """
        if self.treatment is None:
            return (geometry.box(box),) * 2
        stored, size = self.treatment.matrix(geometry.size)
        if not self.after:
            return geometry.box(box), move_box(stored @ geometry.matrix, box, size)
        found, _ = self.treatment.matrix(_size(frame.image))
        back = geometry.matrix @ np.linalg.inv(found)
        return move_box(back, box, geometry.size, inside=0.0), move_box(stored @ back, box, size)

    def native(self, box: Box, pair: Size, fake: Size) -> tuple[Box, Size]:
        """A box in a stored picture of a pair, in px of the fake's own frame, treated; and that frame's size.

        Args:
            pair: (w, h) of the pair's pictures. fake: (w, h) of the fake as displayed.
        """
        if self.treatment is not None:
            pair, fake = self.treatment.matrix(pair)[1], self.treatment.matrix(fake)[1]
        x, y = fake[0] / pair[0], fake[1] / pair[1]
        return (box[0] * x, box[1] * y, box[2] * x, box[3] * y), fake

    def record(self, index: int, *, mri: bool = False) -> dict[str, Any]:
        """What a sample's json says about it; {} = nothing was done.

        Args:
            mri: the sample has the MRI of a pair: the record says so where it is that of the clean pair.
        """
        if self.treatment is None:
            return {}
        return self.treatment.record(index) | ({"mri_of": "clean"} if mri and self.clean_mri else {})

    def _view(self, frame: Frame, image: Picture, geometry: Geometry | None) -> Picture:
        if self.treatment is None:
            return image
        if self._frame is not frame:
            self._frame, self._views = frame, {}
        if geometry not in self._views:
            with self.stages("treat"):
                self._views[geometry] = self.treatment.apply(image, frame.index)
        return self._views[geometry]


def moved_points(face: Face, box: Box) -> Points:
    """The five points of a face whose box lies there in another picture, which shows the same at another scale."""
    (x0, y0, x1, y1), (left, top, right, bottom) = face.box, box
    across, down = (right - left) / (x1 - x0), (bottom - top) / (y1 - y0)
    return tuple((left + (x - x0) * across, top + (y - y0) * down) for x, y in face.points)


def _size(image: Picture) -> Size:
    return image.shape[1], image.shape[0]

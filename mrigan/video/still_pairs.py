"""Which stills of fakes show the same picture as the still that they were made from.

A still has no neighbours in time, so one look must tell. As with video, the pictures are brought to one geometry (same
size, cut out, or scaled) and the outer eighth must be alike. Two photos taken in one studio pass that, and so does one
that was cropped a few pixels elsewhere; an MRI of them would show the camera, not the forger. So a second proof is
asked for: small patches with some texture, outside the faces, must lie where they lie in the original. A forged face
moves nothing around it; another moment, another take or another crop moves the outline of the head, hair and shoulders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from mrigan.config import PairsConfig
from mrigan.errors import InputError
from mrigan.imaging.picture import grey, scale_to
from mrigan.video.alignment import CLEARLY, Paired
from mrigan.video.frames import Frame
from mrigan.video.geometry import Geometry, border_difference, geometries, rim
from mrigan.video.stills import read_still

Box = Sequence[float]

LONG_SIDE = 768  # px: larger pictures are shrunk for the second proof
PATCHES = 24  # along the longer side
SMALLEST = 8  # px, side of a patch
SEARCHED = 8  # px each way
TEXTURE = 6.0  # of 255, standard deviation: a flatter patch matches everywhere
NOISE = 2.0  # of 255, RMS: a patch that differs less is alike
STRANGE = 16.0  # of 255, RMS: a patch that differs more, wherever it is searched, shows something else
FACE = 0.15  # of a face's sides, added on each: a forger's blending reaches so far
AROUND = 0.75  # of a face's sides, added on each: hair, neck and shoulders, which move with another moment
LEAST = 6  # patches; where there are less around a face the whole picture is asked, then its outer eighth
BETTER = 0.8  # a patch lies elsewhere when the difference there is below this part of that in its place
MOVED = 0.15  # of the patches: with more of them elsewhere, or strange, the pictures are two (see benchmarks/stills.py)
MOVED_IN_FACE = 0.35  # the same of a face that fills the picture: its edge may be forged, too


class FakeStill:
    """A fake's still, beside its original's: the form of `FakeClip` for a clip that has one frame.

    Errors of the file do not raise: they come back as `unreadable: ...`.

    Args:
        boxes: the faces of the original, px. place: brings a picture to the device where frames are worked on.
    """

    lost = 0  # frames that are damaged

    def __init__(
        self,
        path: str | Path,
        config: PairsConfig,
        boxes: Sequence[Box] = (),
        place: Callable[[Frame], Frame] = lambda frame: frame,
    ) -> None:
        self._path, self._config, self._boxes, self._place = path, config, list(boxes), place

    def pair(self, frame: Frame) -> Paired:
        """What the fake shows of this still."""
        try:
            fake = self._place(replace(read_still(self._path), index=frame.index, time=frame.time))
        except InputError as error:
            return Paired(frame.index, frame.time, f"unreadable: {error.what}")
        original, theirs = grey(frame.image), grey(fake.image)
        geometry, difference = _likeliest(original, theirs)
        alike = difference <= self._config.border_difference
        if not alike or not same_picture(original, theirs, geometry, self._boxes):
            return Paired(frame.index, frame.time, "misaligned", difference=difference)
        return Paired(
            index=frame.index,
            time=frame.time,
            reason="",
            original=geometry.original(frame.image),
            fake=geometry.fake(fake.image),
            geometry=geometry,
            fake_index=frame.index,
            fake_time=frame.time,
            fake_size=(theirs.shape[1], theirs.shape[0]),
            difference=difference,
        )


def same_picture(original: np.ndarray, fake: np.ndarray, geometry: Geometry, faces: Sequence[Box] = ()) -> bool:
    """Whether patches outside the faces lie at the same places in both.

    Args:
        original, fake: (h, w) uint8 grey. geometry: of the pair. faces: boxes in px of the original.
    """
    a, b = geometry.original(original), geometry.fake(fake)
    inside = [box for box in (geometry.box(face) for face in faces) if box is not None]
    shrink = min(LONG_SIDE / max(a.shape), 1.0)
    if shrink < 1:
        size = max(round(a.shape[1] * shrink), 1), max(round(a.shape[0] * shrink), 1)
        a, b = scale_to(a, size), scale_to(b, size)
        inside = [(x0 * shrink, y0 * shrink, x1 * shrink, y1 * shrink) for x0, y0, x1, y1 in inside]
    patches = list(_patches(a, b, inside))
    near = [patch for patch in patches if patch.near]
    asked = near if len(near) >= LEAST else patches
    limit = MOVED
    if len(asked) < LEAST:  # a face that fills the picture
        h, w = a.shape
        asked, limit = list(_patches(a, b, [(w / 8, h / 8, w * 7 / 8, h * 7 / 8)], margin=0.0)), MOVED_IN_FACE
    return sum(patch.elsewhere for patch in asked) <= max(limit * len(asked), 1)


@dataclass(frozen=True)
class _Patch:
    """near: beside a face. elsewhere: it lies at another place in the other picture, or nowhere near."""

    near: bool
    elsewhere: bool


def _patches(a: np.ndarray, b: np.ndarray, faces: Sequence[Box], margin: float = FACE) -> Iterator[_Patch]:
    h, w = a.shape
    side = max(max(h, w) // PATCHES, SMALLEST)
    reach = min(SEARCHED, (min(h, w) - side) // 2)
    if reach < 1:
        return
    for y in range(reach, h - side - reach + 1, side):
        for x in range(reach, w - side - reach + 1, side):
            centre = x + side / 2, y + side / 2
            patch = b[y : y + side, x : x + side]
            if any(_holds(face, centre, margin) for face in faces) or float(patch.std()) < TEXTURE:
                continue
            field = a[y - reach : y + side + reach, x - reach : x + side + reach]
            sums = np.rint(cv2.matchTemplate(field, patch, cv2.TM_SQDIFF))  # whole numbers, but for rounding
            squares = np.sqrt(np.maximum(sums, 0)) / side
            here, best = float(squares[reach, reach]), float(squares.min())
            elsewhere = here > NOISE and (best < BETTER * here or here > STRANGE)
            yield _Patch(any(_holds(face, centre, AROUND) for face in faces), elsewhere)


def _holds(box: Box, point: tuple[float, float], margin: float) -> bool:
    w, h = (box[2] - box[0]) * margin, (box[3] - box[1]) * margin
    return box[0] - w <= point[0] <= box[2] + w and box[1] - h <= point[1] <= box[3] + h


def _likeliest(original: np.ndarray, fake: np.ndarray) -> tuple[Geometry, float]:
    """The geometry in which the outer eighths are most alike, the first of those that are about as good; and how far
    they differ, 0..255."""
    found: list[tuple[Geometry, float]] = []
    for geometry in geometries(original, fake):
        value = border_difference(rim(geometry.original(original)), rim(geometry.fake(fake)))
        if not found or value < CLEARLY * found[-1][1]:
            found.append((geometry, value))
    return found[-1]

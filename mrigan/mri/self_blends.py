"""Pairs to learn from: a real face beside its self-blend, with the exact MRI, or a stored fake beside its original.

Both pictures of a pair are cut at the same place and undergo the same colours, the same loss of quality and the same
blank rectangle: what is left to tell them apart is the forgery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch

from mrigan.config import FacesConfig
from mrigan.errors import ConfigError
from mrigan.imaging import arrays
from mrigan.imaging.blending import COMMON, BlendRecipe, ColourJitter, SelfBlend, recoloured, self_blend
from mrigan.imaging.degrading import Degradation, degrade
from mrigan.mri.image import mri_image
from mrigan.video import expand_box

# How faces may be stored of which pairs are made: with landmarks, cut by their box and its margin alone.
CUTS = {
    "landmarks": ("mesh",),
    "align": ("none",),
    "crop": ("truncate",),
    "resize": ("area", "antialiased", "linear"),
}
Picture = npt.NDArray[np.uint8]
MIN_MRI = 1.2  # of 255: the mean of a blend's MRI; below, nobody could tell it from its target
REACH = 12  # px: SSIM's window reaches 5 to each side, and must not reach the mask from a part's border
MAX_DRAWS = 8  # of one pair, until it is above
GREY, BLACK = (124, 116, 104), (0, 0, 0)  # ImageNet's mean; nothing forged


@dataclass(frozen=True)
class PairRecipe:
    """How a stored face becomes a pair.

    Args:
        margin: added to the face's box on each side, in parts of its width and height, drawn for each pair.
        shift: of that crop, ± parts of the box's width and height.
        blend, colour, degradation: see `mrigan.imaging`.
        erase_prob: with which a rectangle is blanked in both pictures and in the MRI.
        metric: the perceptual function of the MRI, a name in `mrigan.mri`.
    """

    margin: tuple[float, float] = (0.06, 0.21)
    shift: float = 0.04
    blend: BlendRecipe = field(default_factory=BlendRecipe)
    colour: ColourJitter = COMMON
    degradation: Degradation = field(default_factory=Degradation)
    erase_prob: float = 0.3
    metric: str = "ssim"

    def check(self, faces: FacesConfig) -> None:
        """Refuse faces that are not stored so that pairs can be made of them.

        Raises:
            ConfigError: they have no landmarks, or too small a margin, or were not cut by their box and its margin.
        """
        for key, allowed in CUTS.items():
            if getattr(faces, key) not in allowed:
                raise ConfigError(
                    f"self-blends cannot be made of faces that were stored with faces.{key}={getattr(faces, key)}",
                    where="data.self_blend",
                    fix=f"build the set with faces.{key}={allowed[0]}",
                )
        if faces.margin < self.margin[1] + self.shift:
            raise ConfigError(
                f"the stored faces have a margin of {faces.margin:g}; self-blends are cut with up to "
                f"{self.margin[1] + self.shift:g}",
                where="data.self_blend.margin",
                fix=f"shards with faces.margin={self.margin[1] + self.shift:g}, or a smaller margin here",
            )

    def scored(self) -> PairRecipe:
        """For pictures that are scored: the face at the middle of the margins, not moved or blanked."""
        middle = sum(self.margin) / 2
        return replace(self, margin=(middle, middle), shift=0.0, erase_prob=0.0)


@dataclass(frozen=True)
class StoredFace:
    """A face as a shard holds it.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: (4,) x0, y0, x1, y1 of the face, px of `image`.
        points: (468, 2) its landmarks, px of `image`; None = not known.
    """

    image: Picture
    box: np.ndarray
    points: np.ndarray | None = None

    @classmethod
    def cut(
        cls, image: Picture, box: np.ndarray, points: np.ndarray | None, margin: float, frame_size: tuple[int, int]
    ) -> StoredFace:
        """`image` was cut out of a frame of `frame_size` (w, h) around `box`, which is in px of that frame, as points
        are."""
        left, top, right, bottom = expand_box(box.tolist(), margin, frame_size)
        scale = np.array([image.shape[1] / (right - left), image.shape[0] / (bottom - top)])
        inside = ((box.reshape(2, 2) - [left, top]) * scale).reshape(4)
        return cls(image, inside, None if points is None else (points - [left, top]) * scale)

    def mirrored(self) -> StoredFace:
        """The face flipped left to right."""
        w, box = self.image.shape[1], self.box.copy()
        box[[0, 2]] = w - box[[2, 0]]
        points = None if self.points is None else np.stack([w - 1 - self.points[:, 0], self.points[:, 1]], axis=1)
        return StoredFace(arrays.flip(self.image), box, points)


@dataclass(frozen=True)
class BlendedPair:
    """A real face and its self-blend, as they come into a batch.

    Args:
        target, blend: (size, size, 3) uint8 RGB.
        mri: (size, size, 3) uint8, of the blend; that of the target is black.
        hull: the kind of mask.
    """

    target: Picture
    blend: Picture
    mri: Picture
    hull: str


def blended_pair(face: StoredFace, size: int, rng: np.random.Generator, recipe: PairRecipe) -> BlendedPair:
    """A real face and its self-blend.

    Args:
        face: with landmarks. size: px, side of the pictures. rng: all that is random comes from it.
    """
    assert face.points is not None
    window, face_px = _window(face, size, rng, recipe)
    pair, mri = _blended(window.cut(face.image), window.inside(face.points), rng, recipe)
    target, blend = degrade([pair.target, pair.blend], face_px, rng, recipe.degradation)
    _erase([(target, GREY), (blend, GREY), (mri, BLACK)], rng, recipe)
    return BlendedPair(target, blend, mri, pair.hull)


def treated_face(
    face: StoredFace, mri: Picture | None, size: int, rng: np.random.Generator, recipe: PairRecipe
) -> tuple[Picture, Picture | None]:
    """One picture of a stored pair, and its MRI: the same random numbers treat the other picture alike.

    Args:
        mri: (H, W, 3) uint8, as stored with the face; None = black, or not wanted.

    Returns:
        (size, size, 3) uint8 each. The MRI is without the floor that it has outside the face, which a codec made.
    """
    window, face_px = _window(face, size, rng, recipe)
    picture = recoloured(window.cut(face.image), recipe.colour.draw(rng))
    [picture] = degrade([picture], face_px, rng, recipe.degradation)
    parts = [(picture, GREY)]
    if mri is not None:
        mri = window.cut(without_floor(mri, face.box))
        parts.append((mri, BLACK))
    _erase(parts, rng, recipe)
    return picture, mri


def without_floor(mri: Picture, box: np.ndarray) -> Picture:
    """An MRI less the mean of what lies outside the face's box, in each channel; what is left keeps its range.

    Args:
        mri: (H, W, 3) uint8. box: px of it.
    """
    h, w = mri.shape[:2]
    x0, y0, x1, y1 = (min(max(round(float(v)), 0), side) for v, side in zip(box, (w, h, w, h), strict=True))
    outside = np.ones((h, w), bool)
    outside[y0:y1, x0:x1] = False
    if not outside.any():
        return mri
    floor = mri[outside].mean(axis=0)
    levels = np.arange(256)[:, None] - floor
    return recoloured(mri, np.rint(np.clip(levels * 255 / np.maximum(255 - floor, 1), 0, 255)).astype(np.uint8))


@dataclass(frozen=True)
class _Window:
    """A part of a stored face, shown at `size` px a side."""

    x0: int
    y0: int
    x1: int
    y1: int
    size: int

    @property
    def scale(self) -> np.ndarray:
        return np.array([self.size / (self.x1 - self.x0), self.size / (self.y1 - self.y0)])

    def cut(self, image: Picture) -> Picture:
        part = np.ascontiguousarray(image[self.y0 : self.y1, self.x0 : self.x1])
        return arrays.resize(part, (self.size, self.size), "linear")

    def inside(self, points: np.ndarray) -> np.ndarray:
        return (points - [self.x0, self.y0]) * self.scale


def _window(face: StoredFace, size: int, rng: np.random.Generator, recipe: PairRecipe) -> tuple[_Window, float]:
    """What is cut out, and the width of the face's box in it, px."""
    box, (h, w) = face.box, face.image.shape[:2]
    wide, high = box[2] - box[0], box[3] - box[1]
    margin = rng.uniform(*recipe.margin)
    dx, dy = rng.uniform(-1, 1, 2) * recipe.shift * [wide, high]
    window = _Window(
        max(round(box[0] - margin * wide + dx), 0), max(round(box[1] - margin * high + dy), 0),
        min(round(box[2] + margin * wide + dx), w), min(round(box[3] + margin * high + dy), h), size,
    )  # fmt: skip
    return window, float(wide * window.scale[0])


def _blended(
    crop: Picture, points: np.ndarray, rng: np.random.Generator, recipe: PairRecipe
) -> tuple[SelfBlend, Picture]:
    """A pair in the colours that both pictures have, and its MRI."""
    for _ in range(MAX_DRAWS):
        pair = self_blend(crop, points, rng, recipe.blend)
        table = recipe.colour.draw(rng)
        pair = replace(pair, target=recoloured(pair.target, table), blend=recoloured(pair.blend, table))
        mri = _mri(pair, recipe.metric)
        if mri.mean() >= MIN_MRI:
            break
    return pair, mri


def _mri(pair: SelfBlend, metric: str) -> Picture:
    """(size, size, 3) uint8. Not by `stored_mri`, which changes how OpenCV rounds in other threads meanwhile."""
    if metric != "ssim":
        return _mri_of(pair.target, pair.blend, metric)
    # Outside the mask the pictures are equal: there the MRI of any window that reaches no further is 0.
    mri = np.zeros_like(pair.target)
    x, y, w, h = cv2.boundingRect((pair.mask > 0).astype(np.uint8))
    part = slice(max(y - REACH, 0), y + h + REACH), slice(max(x - REACH, 0), x + w + REACH)
    if w and h:
        mri[part] = _mri_of(pair.target[part], pair.blend[part], metric)
    return mri


def _mri_of(target: Picture, blend: Picture, metric: str) -> Picture:
    a, b = (torch.from_numpy(np.ascontiguousarray(p.transpose(2, 0, 1)))[None] for p in (target, blend))
    return mri_image(a, b, metric)[0].round().byte().permute(1, 2, 0).contiguous().numpy()


def _erase(
    pictures: Sequence[tuple[Picture, tuple[int, int, int]]], rng: np.random.Generator, recipe: PairRecipe
) -> None:
    """Blank a rectangle of .02...0.2 of the area in each picture, with the value beside it, or none."""
    if rng.random() >= recipe.erase_prob:
        return
    size = len(pictures[0][0])
    area = rng.uniform(0.02, 0.2) * size**2
    ratio = np.exp(rng.uniform(np.log(0.3), np.log(1 / 0.3)))
    h, w = (min(round(side), size) for side in (np.sqrt(area * ratio), np.sqrt(area / ratio)))
    y, x = int(rng.integers(size - h + 1)), int(rng.integers(size - w + 1))
    for picture, value in pictures:
        picture[y : y + h, x : x + w] = value

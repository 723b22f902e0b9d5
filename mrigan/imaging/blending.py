"""Self-blended images: a fake made of one real face, whose difference from it is known exactly.

A changed copy of a face is blended with the face itself inside a mask around its landmarks (Shiohara and Yamasaki,
*Detecting Deepfakes with Self-Blended Images*, CVPR 2022, section 3). Only real faces are needed. Both pictures of a
pair then undergo the same colour, and afterwards the same loss of quality; the MRI of the pair is 1 − f(target, blend)
in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Rng = np.random.Generator

# Points of the 468-point mesh: the outline of the face, of the mouth, and of each eye with its brow.
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
MOUTH = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
EYES = ((33, 133, 70, 63, 105, 66, 107, 145, 23), (362, 263, 300, 293, 334, 296, 336, 374, 253))
NOSE = (168, 98, 327, 2, 129, 358)
_FOREHEAD = (10, 338, 297, 332, 284, 251, 21, 54, 103, 67, 109)  # of the outline, above the brows
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_LOWER = tuple(point for point in OVAL if point not in _FOREHEAD)

HULLS = ("face", "no_forehead", "inner", "mouth", "eyes", "random")
ROUNDING = 1e-5  # of a sum of floats: "less than 1" in the paper's code
ELASTIC_STEP = 4  # px of 256 between the places where the displacement is drawn: a smooth field needs no more


@dataclass(frozen=True)
class ColourJitter:
    """How far colours may change.

    Args:
        shift: of each colour, ± levels of 255, with `shift_prob`.
        brightness, contrast: ± parts of 1, both with `prob`.
    """

    shift: float = 20.0
    shift_prob: float = 0.3
    brightness: float = 0.1
    contrast: float = 0.1
    prob: float = 1.0

    def draw(self, rng: Rng) -> np.ndarray:
        """(256, 3) uint8: where each level of each colour goes; see `recoloured`."""
        levels = np.arange(256, dtype=np.float32)[:, None].repeat(3, axis=1)
        if rng.random() < self.shift_prob:
            levels = levels + rng.uniform(-self.shift, self.shift, 3).astype(np.float32)
        if rng.random() < self.prob:
            gain = 1 + rng.uniform(-self.contrast, self.contrast)
            offset = 255 * rng.uniform(-self.brightness, self.brightness)
            levels = np.clip(levels, 0, 255) * np.float32(gain) + np.float32(offset)
        return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)


CHANGED = ColourJitter()  # of the changed copy
COMMON = ColourJitter(brightness=0.3, contrast=0.3, prob=0.3)  # of both pictures of a pair, after the blend


@dataclass(frozen=True)
class BlendRecipe:
    """The constants of the paper; lengths in parts of the picture's side, or in px of 256.

    Args:
        hulls: kinds of mask, of `HULLS`, and how often each is drawn, relative to each other.
        colour: of the changed copy. The paper's shift of hue, saturation and value by ±.3 levels rounds to nothing.
        sharpen: strength α, or else downscale: factors of which one makes the copy coarser.
        move: of the changed copy and its mask, ± parts of the side, horizontally and vertically. scale: of both.
        elastic: amplitude α and smoothness σ, px of 256, of the displacement of the mask alone.
        mask_size: px of 256: the mask is squeezed to a random size in between before it is blurred twice.
        kernels: px, odd: of each blur. sigma: of the second.
        ratios: how much of the changed copy is blended in, drawn from these.
    """

    hulls: tuple[tuple[str, float], ...] = tuple(zip(HULLS, (4, 2, 1, 1, 1, 1), strict=True))
    colour: ColourJitter = CHANGED
    sharpen: tuple[float, float] = (0.2, 0.5)
    downscale: tuple[int, ...] = (2, 4)
    move: tuple[float, float] = (0.03, 0.015)
    scale: tuple[float, float] = (0.95, 1 / 0.95)
    elastic: tuple[float, float] = (50.0, 7.0)
    mask_size: tuple[int, int] = (192, 256)
    kernels: tuple[int, int] = (5, 25)
    sigma: tuple[float, float] = (5.0, 45.0)
    ratios: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)


@dataclass(frozen=True)
class SelfBlend:
    """A pair.

    Args:
        target: (H, W, 3) uint8: the real face. blend: the same with the changed copy blended in.
        mask: (H, W) float32, 0..1: how much of the changed copy each px of `blend` has.
        hull: its kind.
    """

    target: np.ndarray
    blend: np.ndarray
    mask: np.ndarray
    hull: str


def self_blend(face: np.ndarray, points: np.ndarray, rng: Rng, recipe: BlendRecipe = BlendRecipe()) -> SelfBlend:
    """Make a pair of one real face.

    Args:
        face: (H, W, 3) uint8 RGB: a crop around the face. points: (468, 2) its landmarks, px of the crop.
        rng: all that is random comes from it: the same generator gives the same pair.
    """
    kinds, weights = zip(*recipe.hulls, strict=True)
    hull = str(rng.choice(kinds, p=np.array(weights) / sum(weights)))
    mask = hull_mask(hull, points, face.shape[:2], rng)
    changed = _changed(face, rng, recipe)
    target, source = (changed, face) if rng.random() < 0.5 else (face, changed)
    source, mask = _moved(source, mask, rng, recipe)
    mask = _soft(_warped(mask, rng, recipe), rng, recipe) * np.float32(rng.choice(recipe.ratios))
    return SelfBlend(target, blended(source, target, mask), mask, hull)


def blended(source: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """mask · source + (1 − mask) · target, rounded; pictures (H, W, 3) uint8, mask (H, W) float32 in 0..1."""
    return cv2.blendLinear(source, target, mask, 1 - mask)


def hull_mask(kind: str, points: np.ndarray, size: tuple[int, int], rng: Rng) -> np.ndarray:
    """(H, W) float32, 0 or 1: the inside of the convex hull of landmarks.

    Args:
        kind: of `HULLS`. points: (468, 2) px. rng: chooses the points of `random`, and an eye of `eyes`.
    """
    mask = np.zeros(size, np.float32)
    for hull in _hulls(kind, rng):
        corners = cv2.convexHull(np.round(points[list(hull), :2]).astype(np.int32))
        cv2.fillConvexPoly(mask, corners, 1.0)
    return mask


def _hulls(kind: str, rng: Rng) -> tuple[tuple[int, ...], ...]:
    if kind == "face":
        return (OVAL,)
    if kind == "no_forehead":
        return (_LOWER + _BROWS,)
    if kind == "inner":
        return (_BROWS + MOUTH + NOSE,)
    if kind == "mouth":
        return (MOUTH + NOSE[3:],) if rng.random() < 0.5 else (MOUTH,)
    if kind == "eyes":
        return (EYES, EYES[:1], EYES[1:], (EYES[0] + EYES[1],))[int(rng.integers(4))]
    chosen = rng.choice(len(OVAL) + len(_BROWS) + len(MOUTH), size=int(rng.integers(6, 13)), replace=False)
    every = OVAL + _BROWS + MOUTH
    return (tuple(every[i] for i in chosen),)


def recoloured(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 through the table that a `ColourJitter` drew."""
    return cv2.LUT(image, table[None])


def _changed(face: np.ndarray, rng: Rng, recipe: BlendRecipe) -> np.ndarray:
    """The copy: other colours, then either coarser or sharper."""
    copy = recoloured(face, recipe.colour.draw(rng))
    if rng.random() < 0.5:
        h, w = copy.shape[:2]
        factor = int(rng.choice(recipe.downscale))
        small = cv2.resize(copy, (max(w // factor, 1), max(h // factor, 1)), interpolation=cv2.INTER_NEAREST)
        return cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
    alpha = rng.uniform(*recipe.sharpen)
    kernel = np.full((3, 3), -alpha, np.float32)
    kernel[1, 1] = 1 - alpha + 9 * alpha  # α · (9 · centre − sum of the others) + (1 − α) · centre
    return cv2.filter2D(copy, -1, kernel)


def _moved(source: np.ndarray, mask: np.ndarray, rng: Rng, recipe: BlendRecipe) -> tuple[np.ndarray, np.ndarray]:
    """The copy and its mask, moved and scaled about the centre alike."""
    h, w = mask.shape
    scale = rng.uniform(*recipe.scale)
    dx, dy = (rng.uniform(-part, part) * side for part, side in zip(recipe.move, (w, h), strict=True))
    matrix = np.array([[scale, 0, (1 - scale) * w / 2 + dx], [0, scale, (1 - scale) * h / 2 + dy]])
    moved = cv2.warpAffine(source, matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return moved, cv2.warpAffine(mask, matrix, (w, h), flags=cv2.INTER_LINEAR)


def _warped(mask: np.ndarray, rng: Rng, recipe: BlendRecipe) -> np.ndarray:
    """The mask under an elastic deformation: uniform noise in −1..1 on each px, blurred by σ, times α.

    Drawn on a coarser grid: blurred noise has a deviation in inverse proportion to σ in its own steps, so that α is
    divided by the step.
    """
    h, w = mask.shape
    alpha, sigma = recipe.elastic
    steps = 256 // ELASTIC_STEP
    noise = rng.random((steps, steps, 2), np.float32) * 2 - 1
    field = cv2.GaussianBlur(noise, (0, 0), sigma / ELASTIC_STEP, borderType=cv2.BORDER_REFLECT)
    field = cv2.resize(field, (w, h), interpolation=cv2.INTER_LINEAR) * (alpha / ELASTIC_STEP * w / 256)
    xs, ys = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)[:, None]
    return cv2.remap(mask, xs + field[..., 0], ys + field[..., 1], cv2.INTER_LINEAR)


def _soft(mask: np.ndarray, rng: Rng, recipe: BlendRecipe) -> np.ndarray:
    """The mask with soft edges that lie inside it, its largest value 1; 0 everywhere where nothing is left of it."""
    h, w = mask.shape
    low, high = recipe.mask_size
    size = int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1))
    kernels = [int(rng.integers(recipe.kernels[0] // 2, recipe.kernels[1] // 2 + 1)) * 2 + 1 for _ in range(2)]
    sigma = rng.uniform(*recipe.sigma)
    small = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR)
    first = cv2.GaussianBlur(small, (kernels[0], kernels[0]), 0)
    if first.max() <= 0:
        return np.zeros_like(mask)
    first = np.where(first < first.max() * (1 - ROUNDING), np.float32(0), np.float32(1))
    second = cv2.GaussianBlur(first, (kernels[1], kernels[1]), sigma)
    return np.clip(cv2.resize(second / second.max(), (w, h), interpolation=cv2.INTER_LINEAR), 0, 1)

"""Fakes that are made as they are loaded: each real face of a shard set beside its self-blend, with the MRI of both.

All that is random comes from (seed, epoch, key), as for any sample: a pair is the same on every rank, in every worker,
and after an interruption.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from mrigan.data.decode import Picture, split_into
from mrigan.data.reader import SampleError, ShardSet
from mrigan.data.sample_rng import SampleRng
from mrigan.data.samples import Encoded, Samples
from mrigan.errors import ConfigError, ShardError
from mrigan.foreign_files import parse_json
from mrigan.imaging import arrays
from mrigan.imaging.blending import COMMON, BlendRecipe, ColourJitter, SelfBlend, recoloured, self_blend
from mrigan.imaging.degrading import Degradation, degrade
from mrigan.mri import mri_image
from mrigan.video import expand_box
from mrigan.video.landmarks import POINTS

log = logging.getLogger(__name__)

METHOD = "self-blend"
MIN_MRI = 1.2  # of 255: the mean of a blend's MRI; below, nobody could tell it from its target
REACH = 12  # px: SSIM's window reaches 5 to each side, and must not reach the mask from a part's border
MAX_DRAWS = 8  # of one pair, until it is above
MAX_PLACE = 1e6  # px, of what a json says of a frame
GREY = (124, 116, 104)  # ImageNet's mean
BUILD_WITH = "build the set with faces.landmarks=mesh"
_made = threading.local()  # the pair that this thread has made last


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


class BlendedShards(ShardSet):
    """The real samples of a set, each twice: 2k is the face itself, 2k + 1 its self-blend, a fake.

    Args:
        shards: whose faces have landmarks (`faces.landmarks=mesh`).
        margin: `faces.margin`, with which they were cut.

    Raises:
        ShardError: there is no real sample.
        ConfigError: the stored margin is smaller than the recipe's largest.
    """

    def __init__(self, shards: ShardSet, margin: float, recipe: PairRecipe) -> None:
        reals = np.flatnonzero(shards.labels == 0)
        if not len(reals):
            raise ShardError(
                f"no real sample in split {shards.split!r}, of which a self-blend could be made",
                where=shards.folders[0],
            )
        if margin < recipe.margin[1] + recipe.shift:
            raise ConfigError(
                f"the stored faces have a margin of {margin:g}; self-blends are cut with up to "
                f"{recipe.margin[1] + recipe.shift:g}",
                where="data.self_blend.margin",
                fix=f"shards with faces.margin={recipe.margin[1] + recipe.shift:g}, or a smaller margin here",
            )
        self.__dict__.update(shards.subset(reals.repeat(2)).__dict__)
        self.labels = np.tile(np.array([0, 1], np.uint8), len(reals))
        self.kind = "pairs"
        self.margin, self.recipe = margin, recipe

    def key(self, i: int) -> str:
        return super().key(i) + (f"-{METHOD}" if i % 2 else "")

    @property
    def keys(self) -> npt.NDArray[np.bytes_]:
        return np.array([self.key(i).encode() for i in range(len(self))])

    @cached_property
    def rows(self) -> pa.Table:
        """Those of the real samples, each twice; a blend's is that of a fake by the method `METHOD`."""
        reals = self.subset(np.arange(0, len(self), 2))  # each once, or the fakes of the set would not be left out
        real = ShardSet.rows.func(reals)  # type: ignore[attr-defined]
        blend = real
        for name, value in (("label", "fake"), ("method", METHOD)):
            at = real.schema.get_field_index(name)
            blend = blend.set_column(
                at, real.schema.field(at), pa.array([value] * len(real), real.schema.field(at).type)
            )
        turn = np.arange(len(self))
        return pa.concat_tables([real, blend]).take(pa.array(turn // 2 + turn % 2 * len(real)))


def with_landmarks(shards: ShardSet) -> ShardSet:
    """The samples without the real faces that no landmarks are stored with: nothing can be blended of these.

    Reads the JSON of every real sample. For a set in which a face must not give way to another: one that is scored.

    Raises:
        ShardError: there is no real face with landmarks.
    """
    reals = np.flatnonzero(shards.labels == 0)
    without = np.array([i for i in reals.tolist() if not _has_landmarks(shards, i)], np.int64)
    if len(reals) and len(without) == len(reals):
        raise ShardError(
            f"no landmarks are stored with any of the {len(reals)} real faces of split {shards.split!r}",
            where=shards.folders[0],
            fix=BUILD_WITH,
        )
    if len(without):
        log.warning(
            "split %s: %d of the %d real faces are left out, because no landmarks were found on them",
            shards.split, len(without), len(reals))  # fmt: skip
    return shards.subset(np.delete(np.arange(len(shards)), without)) if len(without) else shards


def _has_landmarks(shards: ShardSet, i: int) -> bool:
    try:
        return bool(parse_json(shards.json(i)).get("landmarks"))
    except (AttributeError, ValueError):
        return True  # a damaged sample is reported when it is read


class NoLandmarksError(SampleError):
    """No mesh was found on a face: nothing can be blended, and another face takes its place."""

    unusable = True


class SelfBlends(Samples):
    """Makes the pictures of `BlendedShards`. Both of a pair are made at once, and the second is kept for its turn.

    Args:
        train: pairs as training needs them; else the face at the middle of the recipe's margins, not moved or blanked.
    """

    def __init__(
        self, shards: BlendedShards, *, size: int = 256, mri: bool = True, seed: int = 0, flip: float = 0.0,
        on_bad: str = "stop", train: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(shards, size=size, mri=mri, seed=seed, flip=flip, on_bad=on_bad)
        self.recipe, self.margin = shards.recipe, shards.margin
        if not train:
            middle = sum(self.recipe.margin) / 2
            self.recipe = replace(self.recipe, margin=(middle, middle), shift=0.0, erase_prob=0.0)

    def drawn_by(self, i: int) -> str:
        """The real face's key: both of a pair have the same random numbers, and the same substitute."""
        return ShardSet.key(self.shards, i)

    def encoded(self, i: int, epoch: int) -> Encoded:
        """The real face of sample `i`."""
        rng = SampleRng.of(self.seed, epoch, self.drawn_by(i))
        face, _, text = self.shards.view(i)
        self._check_whole(i, "face", face)
        return Encoded(i, rng, rng.uniform < self.flip, face, None, text)

    def decode_into(self, sample: Encoded, face: Picture, mri: Picture | None) -> None:
        """Make the sample's picture and its MRI, into planes of (3, size, size).

        Raises:
            SampleError: the face cannot be decoded, or no landmarks are stored with it.
        """
        pair, which = (self, sample.id // 2, sample.rng.seed), sample.id % 2
        if getattr(_made, "pair", None) != pair:
            _made.pictures, _made.mri = self._make(sample)
            _made.pair = pair
        split_into(_made.pictures[which], face)
        if mri is None:
            return
        if which:
            split_into(_made.mri, mri)
        else:
            mri.fill(0)

    def _make(self, sample: Encoded) -> tuple[list[Picture], Picture]:
        """Face, self-blend, and the MRI of the blend, (size, size, 3) each."""
        image, points, box = self._face(sample)
        rng = sample.rng.generator()
        crop, points, face_px = self._cropped(image, points, box, rng)
        pair, mri = self._blended(crop, points, rng)
        pictures = degrade([pair.target, pair.blend], face_px, rng, self.recipe.degradation)
        if rng.random() < self.recipe.erase_prob:
            self._erase(pictures, mri, rng)
        return pictures, mri

    def _face(self, sample: Encoded) -> tuple[Picture, np.ndarray, np.ndarray]:
        """The stored face, its landmarks (468, 2) and its box (4,), both in px of it; mirrored if that was drawn."""
        points, box, frame_size = self._stored(sample)
        image = self._decode(sample.id, "face", sample.face)
        left, top, right, bottom = expand_box(box.tolist(), self.margin, frame_size)
        scale = np.array([image.shape[1] / (right - left), image.shape[0] / (bottom - top)])
        points = (points - [left, top]) * scale
        box = ((box.reshape(2, 2) - [left, top]) * scale).reshape(4)
        if sample.mirrored:
            image, w = arrays.flip(image), image.shape[1]
            points[:, 0] = w - 1 - points[:, 0]
            box[[0, 2]] = w - box[[2, 0]]
        return image, points, box

    def _stored(self, sample: Encoded) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """Landmarks (468, 2) and box (4,) in px of the frame, and the frame's size, as the sample's json has them."""
        try:
            about = parse_json(bytes(sample.json))
            if not about.get("landmarks"):
                raise NoLandmarksError(
                    sample.id, f"no landmarks are stored with sample {self.shards.key(sample.id)}",
                    where=self.shards.folders[0], fix=BUILD_WITH,
                )  # fmt: skip
            points, box = (np.array(about[name], np.float64) for name in ("landmarks", "box"))
            width, height = about["frame_size"]
            x, y = (box[:2] + box[2:]) / 2  # the middle is in the frame, or there were no px to crop
            sound = points.shape == (POINTS, 2) and np.abs(points).max() < MAX_PLACE and (box[:2] < box[2:]).all()
            if not (sound and 0 <= x < width <= MAX_PLACE and 0 <= y < height <= MAX_PLACE):
                raise ValueError
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise self.shards.damaged(sample.id, "json", "describes no face with its landmarks") from None
        return points, box, (int(width), int(height))

    def _cropped(
        self, image: Picture, points: np.ndarray, box: np.ndarray, rng: np.random.Generator
    ) -> tuple[Picture, np.ndarray, float]:
        """A crop of `size` px, the landmarks in it, and the face's width in it, px."""
        w, h = box[2] - box[0], box[3] - box[1]
        margin = rng.uniform(*self.recipe.margin)
        dx, dy = rng.uniform(-1, 1, 2) * self.recipe.shift * [w, h]
        x0, y0 = max(round(box[0] - margin * w + dx), 0), max(round(box[1] - margin * h + dy), 0)
        x1 = min(round(box[2] + margin * w + dx), image.shape[1])
        y1 = min(round(box[3] + margin * h + dy), image.shape[0])
        scale = np.array([self.size / (x1 - x0), self.size / (y1 - y0)])
        crop = arrays.resize(np.ascontiguousarray(image[y0:y1, x0:x1]), (self.size, self.size), "linear")
        return crop, (points - [x0, y0]) * scale, float(w * scale[0])

    def _blended(self, crop: Picture, points: np.ndarray, rng: np.random.Generator) -> tuple[SelfBlend, Picture]:
        """A pair in the colours that both pictures have, and its MRI."""
        for _ in range(MAX_DRAWS):
            pair = self_blend(crop, points, rng, self.recipe.blend)
            table = self.recipe.colour.draw(rng)
            pair = replace(pair, target=recoloured(pair.target, table), blend=recoloured(pair.blend, table))
            mri = self._mri(pair)
            if mri.mean() >= MIN_MRI:
                break
        return pair, mri

    def _mri(self, pair: SelfBlend) -> Picture:
        """(size, size, 3) uint8. Not by `stored_mri`, which changes how OpenCV rounds in other threads meanwhile."""
        if self.recipe.metric != "ssim":
            return self._mri_of(pair.target, pair.blend)
        # Outside the mask the pictures are equal: there the MRI of any window that reaches no further is 0.
        mri = np.zeros_like(pair.target)
        x, y, w, h = cv2.boundingRect((pair.mask > 0).astype(np.uint8))
        part = slice(max(y - REACH, 0), y + h + REACH), slice(max(x - REACH, 0), x + w + REACH)
        if w and h:
            mri[part] = self._mri_of(pair.target[part], pair.blend[part])
        return mri

    def _mri_of(self, target: Picture, blend: Picture) -> Picture:
        a, b = (torch.from_numpy(np.ascontiguousarray(p.transpose(2, 0, 1)))[None] for p in (target, blend))
        return mri_image(a, b, self.recipe.metric)[0].round().byte().permute(1, 2, 0).contiguous().numpy()

    def _erase(self, pictures: list[Picture], mri: Picture, rng: np.random.Generator) -> None:
        """Blank a rectangle of .02...0.2 of the area: mean grey in both pictures, black in the MRI."""
        area = rng.uniform(0.02, 0.2) * self.size**2
        ratio = np.exp(rng.uniform(np.log(0.3), np.log(1 / 0.3)))
        h, w = (min(round(side), self.size) for side in (np.sqrt(area * ratio), np.sqrt(area / ratio)))
        y, x = int(rng.integers(self.size - h + 1)), int(rng.integers(self.size - w + 1))
        for picture, value in ((pictures[0], GREY), (pictures[1], GREY), (mri, (0, 0, 0))):
            picture[y : y + h, x : x + w] = value

"""Pairs that are made as they are loaded: a real face beside its self-blend, or a stored fake beside its original.

All that is random comes from (seed, epoch, key), as for any sample: a pair is the same on every rank, in every worker,
and after an interruption.
"""

from __future__ import annotations

import logging
import threading
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mrigan.data.decode import Picture, split_into
from mrigan.data.hashing import Ids
from mrigan.data.originals import stored_pairs
from mrigan.data.reader import SampleError, ShardSet
from mrigan.data.sample_rng import SampleRng
from mrigan.data.samples import Encoded, Samples
from mrigan.errors import ConfigError, ShardError
from mrigan.foreign_files import parse_json
from mrigan.imaging import arrays
from mrigan.mri.self_blends import PairRecipe, StoredFace, blended_pair, treated_face
from mrigan.video.landmarks import POINTS

log = logging.getLogger(__name__)

METHOD = "self-blend"
MAX_PLACE = 1e6  # px, of what a json says of a frame
BUILD_WITH = "build the set with faces.landmarks=mesh"
_made = threading.local()  # the pair that this thread has made last


class BlendedShards(ShardSet):
    """The samples of a set in pairs: 2k is a real face, 2k + 1 a fake of it.

    First come all real faces, each beside its self-blend. If `share` is below 1, stored fakes follow, each beside a
    face of its original (see `stored_pairs`). Where samples are scored, nothing stands there twice: stored fakes follow
    by themselves.

    Args:
        shards: whose faces are stored as `recipe.check` demands.
        margin: `faces.margin`, with which they were cut.
        share: of the fakes, that are self-blends: above 0; 1 leaves stored fakes out.
        scored: the samples are scored, not learned from.

    Attributes:
        stored: (pairs,) uint8: 1 = a stored fake beside its original, 0 = a face beside its self-blend.

    Raises:
        ShardError: there is no real sample; or no stored fake to learn from, although `share` is below 1.
    """

    def __init__(
        self, shards: ShardSet, margin: float, recipe: PairRecipe, share: float = 1.0, *, scored: bool = False
    ) -> None:
        reals = np.flatnonzero(shards.labels == 0)
        if not len(reals):
            raise ShardError(
                f"no real sample in split {shards.split!r}, of which a self-blend could be made",
                where=shards.folders[0],
            )
        fakes = originals = reals[:0]
        if share < 1:
            fakes, originals = _stored(shards, needed=not scored)
        then = fakes if scored else np.stack([originals, fakes], axis=1).ravel()
        self.__dict__.update(shards.subset(np.concatenate([reals.repeat(2), then])).__dict__)
        self.blends = 2 * len(reals)
        self.labels[1 : self.blends : 2] = 1
        self.stored = np.repeat(np.array([0, 1], np.uint8), [len(reals), len(fakes)])
        drawn_by = shards.keys[originals if scored else fakes.repeat(2)]
        self._drawn_by = np.concatenate([self._keys[: self.blends], drawn_by])
        of_stored = self._index["mri_size"][self.blends :][self.labels[self.blends :] == 1]
        self.kind = "pairs" if (of_stored >= 0).all() else "faces"
        self.margin, self.recipe = margin, recipe

    def key(self, i: int) -> str:
        return super().key(i) + (f"-{METHOD}" if i < self.blends and i % 2 else "")

    @property
    def keys(self) -> npt.NDArray[np.bytes_]:
        return np.array([self.key(i).encode() for i in range(len(self))])

    def drawn_by(self, i: int) -> str:
        """The key that decides what is drawn for sample `i`: the same for both of a pair."""
        return self._drawn_by[i].decode()

    def places(self) -> tuple[Ids, Ids]:
        """Those of the pairs, each where its fake is, or what its fake is made of."""
        number, offset = super().places()
        return number[1::2], offset[1::2]

    @cached_property
    def rows(self) -> pa.Table:
        """Those of the samples; a blend's is that of its real face, as a fake by the method `METHOD`."""
        _, first, at = np.unique(self._keys, return_index=True, return_inverse=True)
        once = self.subset(first)
        rows = ShardSet.rows.func(once).take(pa.array(at))  # type: ignore[attr-defined]
        turn = np.arange(len(self))
        blend = pa.array((turn < self.blends) & (turn % 2 == 1))
        for name, value in (("label", "fake"), ("method", METHOD)):
            i = rows.schema.get_field_index(name)
            kind = rows.schema.field(i)
            rows = rows.set_column(i, kind, pc.if_else(blend, pa.scalar(value, kind.type), rows[name]))
        return rows


def _stored(shards: ShardSet, *, needed: bool) -> tuple[Ids, Ids]:
    """Stored fakes and their originals, ids."""
    pairs = stored_pairs(shards)
    if needed and not len(pairs.fakes):
        raise ShardError(
            f"no stored fake has a face of its original beside it in split {shards.split!r}",
            where=shards.folders[0],
            fix="data.self_blend.share=1, which needs none, or shards of originals with their fakes",
        )
    log.info("split %s: %s", shards.split, pairs)
    return pairs.fakes, pairs.originals


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
    """Makes the pictures of `BlendedShards`. A self-blend and its real face are made at once, and kept for its turn.

    Args:
        train: pictures as training needs them; else see `PairRecipe.scored`.
    """

    shards: BlendedShards

    def __init__(
        self, shards: BlendedShards, *, size: int = 256, mri: bool = True, seed: int = 0, flip: float = 0.0,
        on_bad: str = "stop", train: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(shards, size=size, mri=mri, seed=seed, flip=flip, on_bad=on_bad)
        self.margin, self.recipe = shards.margin, shards.recipe if train else shards.recipe.scored()

    def drawn_by(self, i: int) -> str:
        """As `BlendedShards.drawn_by`: both of a pair have the same random numbers, and substitutes that are a pair."""
        return self.shards.drawn_by(i)

    def encoded(self, i: int, epoch: int) -> Encoded:
        """Sample `i`, or the real face that it is made of. Raises SampleError as `Samples.encoded` does."""
        rng = SampleRng.of(self.seed, epoch, self.drawn_by(i))
        face, mri, text = self.shards.view(i)
        self._check_whole(i, "face", face)
        if not (self.mri and i >= self.shards.blends and self.shards.labels[i]):
            mri = None
        if mri is not None:
            self._check_whole(i, "mri", mri)
        return Encoded(i, rng, rng.uniform < self.flip, face, mri, text)

    def decode_into(self, sample: Encoded, face: Picture, mri: Picture | None) -> None:
        """Make the sample's picture and its MRI, into planes of (3, size, size).

        Raises:
            SampleError: a picture cannot be decoded, or no landmarks are stored with a face that is to be blended.
        """
        picture, of_picture = self._blended(sample) if sample.id < self.shards.blends else self._stored(sample)
        split_into(picture, face)
        if mri is None:
            return
        if of_picture is None:
            mri.fill(0)
        else:
            split_into(of_picture, mri)

    def _blended(self, sample: Encoded) -> tuple[Picture, Picture | None]:
        """The real face, or its self-blend and the MRI of it, (size, size, 3) each."""
        of = self, sample.id // 2, sample.rng.seed
        if getattr(_made, "of", None) != of:
            face, _ = self._face(sample)
            if face.points is None:
                raise NoLandmarksError(
                    sample.id, f"no landmarks are stored with sample {self.shards.key(sample.id)}",
                    where=self.shards.folders[0], fix=BUILD_WITH,
                )  # fmt: skip
            _made.pair = blended_pair(face, self.size, sample.rng.generator(), self.recipe)
            _made.of = of
        pair = _made.pair
        return (pair.blend, pair.mri) if sample.id % 2 else (pair.target, None)

    def _stored(self, sample: Encoded) -> tuple[Picture, Picture | None]:
        """The stored face and its MRI; None if that is black or not wanted."""
        face, metric = self._face(sample)
        mri = None
        if sample.mri is not None:
            if metric != self.recipe.metric:
                raise ConfigError(
                    f"stored MRIs are of the metric {metric!r}, those of self-blends of {self.recipe.metric!r}",
                    where=self.shards.folders[0],
                    fix=f"shards with mri.metric={self.recipe.metric}, or data.self_blend.share=1",
                )
            mri = self._decode(sample.id, "mri", sample.mri)
            mri = arrays.flip(mri) if sample.mirrored else mri
        return treated_face(face, mri, self.size, sample.rng.generator(), self.recipe)

    def _face(self, sample: Encoded) -> tuple[StoredFace, str]:
        """The stored face, mirrored if that was drawn, and the metric of its MRI."""
        box, points, frame_size, metric = self._described(sample)
        image = self._decode(sample.id, "face", sample.face)
        face = StoredFace.cut(image, box, points, self.margin, frame_size)
        return face.mirrored() if sample.mirrored else face, metric

    def _described(self, sample: Encoded) -> tuple[np.ndarray, np.ndarray | None, tuple[int, int], str]:
        """Box (4,) and landmarks (468, 2) in px of the frame, the frame's size, the metric: as the json has them."""
        try:
            about = parse_json(bytes(sample.json))
            box = np.array(about["box"], np.float64)
            points = np.array(about["landmarks"], np.float64) if about.get("landmarks") else None
            width, height = about["frame_size"]
            x, y = (box[:2] + box[2:]) / 2  # the middle is in the frame, or there were no px to crop
            sound = bool((box[:2] < box[2:]).all()) and 0 <= x < width <= MAX_PLACE and 0 <= y < height <= MAX_PLACE
            if points is not None:
                sound = sound and points.shape == (POINTS, 2) and np.abs(points).max() < MAX_PLACE
            if not sound:
                raise ValueError
            return box, points, (int(width), int(height)), str(about.get("mri"))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise self.shards.damaged(sample.id, "json", "describes no face with its place") from None

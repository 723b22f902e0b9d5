"""One sample: read, checked, decoded, flipped and augmented; and which sample replaces a bad one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mrigan.data.decode import DecodeError, Picture, check_whole, decode, split_into
from mrigan.data.reader import SampleError, ShardSet
from mrigan.data.sample_rng import SampleRng
from mrigan.errors import ShardError
from mrigan.imaging import arrays
from mrigan.imaging.face_augmentation import Augment

MAX_SUBSTITUTES = 20  # tried for one bad sample
_MAX_BLACKS = 8  # encodings of a black MRI that are remembered: one for each format, size and quality
T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Skipped:
    """A bad sample that was replaced by another one of its class.

    Attributes:
        sample: its place in the `ShardSet`.
        error: what is wrong with it, and where.
    """

    sample: int
    error: str


@dataclass(frozen=True)
class Encoded:
    """A sample as it is stored, with its random numbers.

    Attributes:
        id: its place in the `ShardSet`.
        mirrored: whether face and MRI are flipped left to right.
        face: a whole JPEG or PNG file.
        mri: the same; None if it is black or was not requested.
        json: the sample's third member.
    """

    id: int
    rng: SampleRng
    mirrored: bool
    face: memoryview
    mri: memoryview | None
    json: memoryview


class Samples:
    """Reads samples of a `ShardSet` and makes pictures of them. Threads may share it.

    Args:
        size: px, side of the pictures; stored ones of another size are resized.
        mri: whether MRIs are read; None = if the shards are pairs and faces are not augmented.
        seed: of flips and augmentation, which depend on (seed, epoch, key) only.
        flip: probability of a horizontal flip, of face and MRI together.
        augment: applied to the face after the flip, with a random generator for each sample.
        on_bad: "stop" raises the error of a bad sample; "skip" replaces it by another one of its class, drawn from
            (seed, epoch, key), so every rank keeps its number of batches and a resumed run sees the same samples.

    Raises:
        ShardError: MRIs are requested and the shards hold none.
        ValueError: MRIs are requested together with an augmentation.
    """

    def __init__(
        self,
        shards: ShardSet,
        *,
        size: int = 256,
        mri: bool | None = None,
        seed: int = 0,
        flip: float = 0.0,
        augment: Augment | None = None,
        on_bad: str = "stop",
    ) -> None:
        if mri and shards.kind != "pairs":
            raise ShardError("the shards hold no MRIs", where=shards.folders[0], fix="use shards of kind pairs")
        if mri and augment is not None:
            raise ValueError("an augmented face does not match its MRI: load one or the other")
        self.shards, self.size, self.seed, self.flip, self.augment = shards, size, seed, flip, augment
        self.mri = (shards.kind == "pairs" and augment is None) if mri is None else mri
        self.on_bad = on_bad
        self._blacks: set[bytes] = set()  # half of all MRIs are the same black picture: decoded once

    def batch_bytes(self, batch_size: int) -> int:
        """Bytes of the pictures in a batch."""
        return batch_size * 3 * self.size**2 * (2 if self.mri else 1)

    def drawn_by(self, i: int) -> str:
        """The key that decides, with seed and epoch, what is drawn for sample `i`: its own."""
        return self.shards.key(i)

    def encoded(self, i: int, epoch: int) -> Encoded:
        """Sample `i`, with its bytes checked.

        Raises:
            SampleError: it cannot be read, has changed since it was written, or is not a whole picture.
        """
        return self.encoded_from(i, epoch, self.shards.view(i))

    def encoded_from(self, i: int, epoch: int, parts: tuple[memoryview, memoryview | None, memoryview]) -> Encoded:
        """Sample `i`, of a face, an MRI and a json that were read elsewhere.

        Raises:
            SampleError: a part is not a whole picture.
        """
        rng = SampleRng.of(self.seed, epoch, self.drawn_by(i))
        face, mri, json = parts
        if not self.mri or (mri is not None and self._is_black(i, mri)):
            mri = None
        for name, data in (("face", face), ("mri", mri)):
            if data is not None:
                self._check_whole(i, name, data)
        return Encoded(i, rng, rng.uniform < self.flip, face, mri, json)

    def decode_into(self, sample: Encoded, face: Picture, mri: Picture | None) -> None:
        """Decode, flip and augment a sample into planes of (3, size, size).

        Raises:
            SampleError: a picture cannot be decoded.
        """
        image = self._picture(sample, "face", sample.face)
        if self.augment is not None:
            image = self.augment(image, sample.rng.generator())
        split_into(image, face)
        if mri is None:
            return
        if sample.mri is None:
            mri.fill(0)
        else:
            split_into(self._picture(sample, "mri", sample.mri), mri)

    def first_good(self, i: int, epoch: int, use: Callable[[int], T]) -> tuple[T, list[Skipped]]:
        """`use(i)`; if that sample is bad and `on_bad` is "skip", `use` of its first good substitute.

        Returns:
            The result of `use`, and the bad samples that were skipped.

        Raises:
            SampleError: the sample is bad and `on_bad` is "stop", or it and `MAX_SUBSTITUTES` substitutes are bad.
        """
        skipped: list[Skipped] = []
        for candidate in self._candidates(i, epoch):
            try:
                return use(candidate), skipped
            except SampleError as error:
                if self.on_bad == "stop" and not error.unusable:
                    raise
                skipped.append(Skipped(error.sample, str(error)))
                last = error
        raise SampleError(
            last.sample,
            f"sample {self.shards.key(i)} and {MAX_SUBSTITUTES} substitutes of its class are bad; the last one: "
            f"{last.what}",
            where=last.where,
            fix=last.fix,
        )

    def _candidates(self, i: int, epoch: int) -> Iterator[int]:
        yield i
        same_class = self._classes[int(self.shards.labels[i])]
        for attempt in range(MAX_SUBSTITUTES):
            text = f"mrigan substitute 1|{self.seed}|{epoch}|{self.drawn_by(i)}|{attempt}"
            word = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
            yield int(same_class[word % len(same_class)])

    @cached_property
    def _classes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return np.flatnonzero(self.shards.labels == 0), np.flatnonzero(self.shards.labels == 1)

    def _is_black(self, i: int, mri: memoryview) -> bool:
        if self.shards.labels[i]:
            return False
        data = bytes(mri)
        if data in self._blacks:
            return True
        if self._decode(i, "mri", mri).any():
            return False
        if len(self._blacks) < _MAX_BLACKS:
            self._blacks.add(data)
        return True

    def _picture(self, sample: Encoded, name: str, data: memoryview) -> Picture:
        image = arrays.resize(self._decode(sample.id, name, data), (self.size, self.size), "linear")
        return arrays.flip(image) if sample.mirrored else image

    def _check_whole(self, i: int, name: str, data: memoryview) -> None:
        try:
            check_whole(data)  # some decoders make a picture of half a file without an error
        except DecodeError as error:
            raise self.shards.damaged(i, name, str(error)) from None

    def _decode(self, i: int, name: str, data: memoryview) -> Picture:
        try:
            return decode(data)
        except DecodeError as error:
            raise self.shards.damaged(i, name, str(error)) from None

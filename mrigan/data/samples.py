"""One sample: read, checked and decoded, with its chances; and what takes its place where it is bad."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mrigan.data.augment import Augment
from mrigan.data.batch import Skipped
from mrigan.data.decode import DecodeError, Picture, check_whole, decode, flip, resize, split_into
from mrigan.data.draws import Draws
from mrigan.data.reader import SampleError, ShardSet
from mrigan.errors import ShardError

TRIES = 20  # substitutes for one sample; a set in which they all are bad is lost
_BLACKS = 8  # black MRIs as bytes that are known at a time: one a format, size and quality
T = TypeVar("T")


@dataclass(frozen=True)
class Encoded:
    """A sample as it is stored, and its chances.

    Attributes:
        id: its place in the `ShardSet`.
        mirrored: whether face and MRI shall be flipped left to right.
        face: a JPEG or PNG, from its first byte to its last.
        mri: the same; None where it is black, or not asked for.
    """

    id: int
    draws: Draws
    mirrored: bool
    face: memoryview
    mri: memoryview | None


class Samples:
    """What becomes of the samples of a `ShardSet` on their way into a batch. Any number of threads may use it.

    Args:
        size: px, side of the pictures.
        mri: whether the MRIs are wanted.
        seed: of flips and augmentation, which depend on (seed, epoch, key) only.
        flip: probability of a horizontal flip.
        augment: applied to the face, after the flip.
        on_bad: "stop" raises the error of a bad sample; "skip" takes another one of its class in its place, drawn from
            (seed, epoch, key), so that every rank keeps its number of batches and a resumed run sees the same.

    Raises:
        ShardError: MRIs are wanted and the shards hold none.
    """

    def __init__(
        self,
        shards: ShardSet,
        *,
        size: int,
        mri: bool,
        seed: int = 0,
        flip: float = 0.0,
        augment: Augment | None = None,
        on_bad: str = "stop",
    ) -> None:
        if mri and shards.kind != "pairs":
            raise ShardError("the shards hold no MRIs", where=shards.folders[0], fix="use shards of kind pairs")
        self.shards, self.size, self.mri, self.seed, self.flip, self.augment = shards, size, mri, seed, flip, augment
        self.on_bad = on_bad
        self._blacks: set[bytes] = set()  # every real's MRI, so half of all are the same: decoded once

    def encoded(self, i: int, epoch: int) -> Encoded:
        """Sample `i`, its bytes checked.

        Raises:
            SampleError: it cannot be read, changed since it was written, or is no whole picture.
        """
        draws = Draws.of(self.seed, epoch, self.shards.key(i))
        face, mri, _ = self.shards.view(i)
        if not self.mri or (mri is not None and self._is_black(i, mri)):
            mri = None
        for name, data in (("face", face), ("mri", mri)):
            if data is not None:
                self._whole(i, name, data)
        return Encoded(i, draws, draws.uniform < self.flip, face, mri)

    def decode_into(self, sample: Encoded, face: Picture, mri: Picture | None) -> None:
        """Decode into (3, size, size) planes, flipped and augmented.

        Raises:
            SampleError: a picture cannot be decoded.
        """
        image = self._picture(sample, "face", sample.face)
        if self.augment is not None:
            image = self.augment(image, sample.draws.generator())
        split_into(image, face)
        if mri is None:
            return
        if sample.mri is None:
            mri.fill(0)
        else:
            split_into(self._picture(sample, "mri", sample.mri), mri)

    def first_good(self, i: int, epoch: int, use: Callable[[int], T]) -> tuple[T, list[Skipped]]:
        """`use(i)`; where that sample is bad and `on_bad` is "skip", `use` of the first good substitute.

        Returns:
            What `use` gave, and the bad samples that were passed over.

        Raises:
            SampleError: the sample is bad and `on_bad` is "stop", or it and `TRIES` substitutes are.
        """
        skipped: list[Skipped] = []
        for candidate in self._candidates(i, epoch):
            try:
                return use(candidate), skipped
            except SampleError as error:
                if self.on_bad == "stop":
                    raise
                skipped.append(Skipped(error.sample, str(error)))
                last = error
        raise SampleError(
            last.sample,
            f"sample {self.shards.key(i)} and {TRIES} substitutes of its class are bad; the last one: {last.what}",
            where=last.where,
            fix=last.fix,
        )

    def _candidates(self, i: int, epoch: int) -> Iterator[int]:
        yield i
        same = self._classes[int(self.shards.labels[i])]
        for attempt in range(TRIES):
            text = f"mrigan substitute 1|{self.seed}|{epoch}|{self.shards.key(i)}|{attempt}"
            word = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
            yield int(same[word % len(same)])

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
        if len(self._blacks) < _BLACKS:
            self._blacks.add(data)
        return True

    def _picture(self, sample: Encoded, name: str, data: memoryview) -> Picture:
        image = resize(self._decode(sample.id, name, data), self.size)
        return flip(image) if sample.mirrored else image

    def _whole(self, i: int, name: str, data: memoryview) -> None:
        try:
            check_whole(data)  # some decoders make a picture of half a file, and say nothing
        except DecodeError as error:
            raise self.shards.damaged(i, name, str(error)) from None

    def _decode(self, i: int, name: str, data: memoryview) -> Picture:
        try:
            return decode(data)
        except DecodeError as error:
            raise self.shards.damaged(i, name, str(error)) from None

"""A batch on its way: its slots are filled in any order, by any number of threads or by one worker process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from mrigan.data.batch import Batch, Skipped
from mrigan.data.samples import Encoded, Samples

Allocate = Callable[[tuple[int, ...]], torch.Tensor]  # a shape → uint8 memory for pictures


@dataclass(frozen=True)
class Request:
    """The samples of one batch of one rank, as the epoch plan names them.

    Attributes:
        ids, epochs: (B,) int64.
    """

    step: int
    ids: npt.NDArray[np.int64]
    epochs: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


class EncodedBatch:
    """The samples of one batch as they are stored, for a decoder that takes a batch at a time."""

    def __init__(self, samples: Samples, request: Request) -> None:
        self.request, self.skipped = request, list[Skipped]()
        self._samples = samples
        self._slots: list[Encoded | None] = [None] * len(request)

    def fill(self, start: int, stop: int) -> None:
        """Fill slots `start` … `stop - 1`.

        Raises:
            SampleError: see `Samples.first_good`.
        """
        for k in range(start, stop):
            load = partial(self._load, epoch=int(self.request.epochs[k]), slot=k)
            self._slots[k], skipped = self._samples.first_good(
                int(self.request.ids[k]), int(self.request.epochs[k]), load
            )
            self.skipped += skipped

    @property
    def slots(self) -> list[Encoded]:
        """All slots, once they are filled."""
        return [slot for slot in self._slots if slot is not None]

    def batch(self, face: torch.Tensor, mri: torch.Tensor | None) -> Batch:
        """The batch, with pictures that were decoded elsewhere."""
        slots = self.slots
        ids = np.fromiter((slot.id for slot in slots), np.int64, len(slots))
        seeds = torch.tensor([slot.draws.seed for slot in slots], dtype=torch.int64)
        labels = torch.from_numpy(self._samples.shards.labels[ids].astype(np.float32))
        epochs = torch.from_numpy(self.request.epochs)
        skipped = tuple(sorted(self.skipped))
        return Batch(face, mri, labels, torch.from_numpy(ids), epochs, seeds, self.request.step, skipped)

    def _load(self, i: int, epoch: int, slot: int) -> Encoded:
        return self._samples.encoded(i, epoch)


class DecodedBatch(EncodedBatch):
    """The samples of one batch, decoded into memory of `allocate` as they are read."""

    def __init__(self, samples: Samples, request: Request, allocate: Allocate) -> None:
        super().__init__(samples, request)
        shape = (len(request), 3, samples.size, samples.size)
        self._face, self._mri = allocate(shape), allocate(shape) if samples.mri else None
        # As arrays: a slot of one costs a tenth of a tensor's.
        self._planes = self._face.numpy(), None if self._mri is None else self._mri.numpy()

    def finished(self) -> Batch:
        """The batch, once all slots are filled."""
        return self.batch(self._face, self._mri)

    def _load(self, i: int, epoch: int, slot: int) -> Encoded:
        face, mri = self._planes
        sample = self._samples.encoded(i, epoch)
        self._samples.decode_into(sample, face[slot], None if mri is None else mri[slot])
        return sample

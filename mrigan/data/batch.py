"""A batch: requested by the epoch plan, filled slot by slot from samples, yielded by a loader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from mrigan.data.samples import Encoded, Samples, Skipped

Allocate = Callable[[tuple[int, ...]], torch.Tensor]  # a shape → uint8 memory for pictures


@dataclass(frozen=True)
class Request:
    """The samples of one batch of one rank, as the epoch plan names them.

    Attributes:
        step: the number of the global batch.
        ids, epochs: (B,) int64.
    """

    step: int
    ids: npt.NDArray[np.int64]
    epochs: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Batch:
    """One rank's part of a global batch: B samples with pictures of side S.

    Attributes:
        face: (B, 3, S, S) uint8 RGB.
        mri: (B, 3, S, S) uint8, or None if MRIs are not read.
        label: (B,) float32, 1 = fake.
        ids: (B,) int64, places in the `ShardSet`.
        epoch: (B,) int64, the epoch of each sample (a batch may contain the end of one and the start of the next).
        seeds: (B,) int64 >= 0, from (seed, epoch, key): for what is drawn after the loader, such as
            `random_erasing_`.
        step: the number of the global batch.
        skipped: the bad samples that were replaced (`data.on_bad=skip`); `ids` names their substitutes.
    """

    face: torch.Tensor
    mri: torch.Tensor | None
    label: torch.Tensor
    ids: torch.Tensor
    epoch: torch.Tensor
    seeds: torch.Tensor
    step: int
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Batch:
        """The batch with pictures and labels on `device`; copies from pinned memory do not block.

        Ids, epochs and seeds stay in CPU memory: the CPU reads them, and copying them back would wait for the device.
        """
        mri = None if self.mri is None else self.mri.to(device, non_blocking=True)
        face, label = self.face.to(device, non_blocking=True), self.label.to(device, non_blocking=True)
        return replace(self, face=face, mri=mri, label=label)

    def pin_memory(self) -> Batch:
        """The batch with pictures and labels in page-locked memory (torch's DataLoader calls it)."""
        mri = None if self.mri is None else self.mri.pin_memory()
        return replace(self, face=self.face.pin_memory(), mri=mri, label=self.label.pin_memory())


class EncodedBatch:
    """The encoded samples of one batch, for a decoder that takes a batch at a time.

    Slots may be filled in any order, by several threads.
    """

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
        seeds = torch.tensor([slot.rng.seed for slot in slots], dtype=torch.int64)
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
        # As arrays: indexing an array costs a tenth of indexing a tensor.
        self._planes = self._face.numpy(), None if self._mri is None else self._mri.numpy()

    def put(self, slot: int, sample: Encoded) -> None:
        """Decode a sample into a slot.

        Raises:
            SampleError: a picture cannot be decoded.
        """
        face, mri = self._planes
        self._samples.decode_into(sample, face[slot], None if mri is None else mri[slot])
        self._slots[slot] = sample

    def finished(self) -> Batch:
        """The batch, once all slots are filled."""
        return self.batch(self._face, self._mri)

    def _load(self, i: int, epoch: int, slot: int) -> Encoded:
        sample = self._samples.encoded(i, epoch)
        self.put(slot, sample)
        return sample

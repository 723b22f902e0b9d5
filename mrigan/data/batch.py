"""What a loader yields."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True, order=True)
class Skipped:
    """A bad sample that another one of its class took the place of.

    Attributes:
        sample: its place in the `ShardSet`.
        error: what is wrong with it, where.
    """

    sample: int
    error: str


@dataclass
class Batch:
    """One rank's part of a global batch; B samples of side S.

    Attributes:
        face: (B, 3, S, S) uint8 RGB.
        mri: (B, 3, S, S) uint8, or None where none is read.
        label: (B,) float32, 1 = fake.
        ids: (B,) int64, places in the `ShardSet`.
        epoch: (B,) int64, the epoch that each sample belongs to (a batch may straddle two).
        seeds: (B,) int64 >= 0, from (seed, epoch, key): for chances drawn after the loader, such as
            `random_erasing_`.
        step: the number of the global batch.
        skipped: the bad samples that others took the place of (`data.on_bad=skip`); `ids` names those others.
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
        """The batch with pictures and labels on `device`; copies from pinned memory do not block. Ids, epochs and seeds
        stay where they are: they are read on the CPU, and fetching them back would wait for the device."""
        mri = None if self.mri is None else self.mri.to(device, non_blocking=True)
        face, label = self.face.to(device, non_blocking=True), self.label.to(device, non_blocking=True)
        return replace(self, face=face, mri=mri, label=label)

    def pin_memory(self) -> Batch:
        """The batch with pictures and labels in page-locked memory (the DataLoader calls it)."""
        mri = None if self.mri is None else self.mri.pin_memory()
        return replace(self, face=self.face.pin_memory(), mri=mri, label=self.label.pin_memory())

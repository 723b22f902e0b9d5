"""What a loader yields."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch


@dataclass
class Batch:
    """One rank's part of a global batch; B samples of side S.

    Attributes:
        face: (B, 3, S, S) uint8 RGB.
        mri: (B, 3, S, S) uint8, or None where none is read.
        label: (B,) float32, 1 = fake.
        ids: (B,) int64, places in the `ShardSet`.
        epoch: (B,) int64, the epoch that each sample belongs to (a batch may straddle two).
        seeds: (B,) int64 >= 0, from (seed, epoch, key): for chances drawn on the device, such as `random_erasing_`.
        step: the number of the global batch.
    """

    face: torch.Tensor
    mri: torch.Tensor | None
    label: torch.Tensor
    ids: torch.Tensor
    epoch: torch.Tensor
    seeds: torch.Tensor
    step: int

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Batch:
        """Pictures, labels, ids, epochs and seeds on `device`; copies from pinned memory do not block."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory (the DataLoader calls it)."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: object) -> Batch:
        assert callable(change)
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Batch(**{name: change(v) if isinstance(v, torch.Tensor) else v for name, v in values.items()})

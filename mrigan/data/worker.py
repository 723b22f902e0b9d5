"""What a loader's worker process does: read, decode, flip, augment, into one tensor in shared memory."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, get_worker_info

from mrigan.data.augment import Augment
from mrigan.data.batch import Batch
from mrigan.data.decode import DecodeError, Picture, decode, flip, resize, split_into
from mrigan.data.draws import Draws
from mrigan.data.reader import ShardSet
from mrigan.errors import ShardError

TERM_GRACE = 90  # seconds that a worker lives on after SIGTERM


@dataclass(frozen=True)
class Request:
    """What the main process asks of a worker: the samples of one batch of one rank."""

    step: int
    ids: npt.NDArray[np.int64]
    epochs: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Failure:
    """A `ShardError` on its way to the main process; the DataLoader would make a traceback as text of an exception."""

    what: str
    where: str
    fix: str | None


class BatchDataset(Dataset[Any]):
    """Runs in the workers: `dataset[request]` is the batch, or what went wrong."""

    def __init__(
        self,
        shards: ShardSet,
        *,
        size: int,
        mri: bool,
        seed: int = 0,
        flip: float = 0.0,
        augment: Augment | None = None,
    ) -> None:
        if mri and shards.kind != "pairs":
            raise ShardError("the shards hold no MRIs", where=shards.folders[0], fix="use shards of kind pairs")
        self.shards, self.size, self.mri, self.seed, self.flip, self.augment = shards, size, mri, seed, flip, augment
        self._black = b""  # the bytes of the last black MRI: every real's, so half of all are the same and decoded once

    def batch_bytes(self, count: int) -> int:
        """The size of `count` samples' pictures."""
        return count * 3 * self.size**2 * (2 if self.mri else 1)

    def __getitem__(self, request: Request) -> Batch | Failure:
        try:
            return self._batch(request)
        except ShardError as error:
            return Failure(error.what, str(error.where), error.fix)

    def _batch(self, request: Request) -> Batch:
        count = len(request.ids)
        face = _empty(count, self.size)
        mri = _empty(count, self.size) if self.mri else None
        seeds = torch.empty(count, dtype=torch.int64)
        for k, (i, epoch) in enumerate(zip(request.ids.tolist(), request.epochs.tolist(), strict=True)):
            draws = Draws.of(self.seed, epoch, self.shards.key(i))
            mirrored = draws.uniform < self.flip
            seeds[k] = draws.seed
            face_data, mri_data, _ = self.shards.read(i)
            image = self._picture(i, "face", face_data, mirrored)
            if self.augment is not None:
                image = self.augment(image, draws.generator())
            split_into(image, face[k].numpy())
            if mri is not None and mri_data is not None:
                if mri_data == self._black:
                    mri[k].zero_()
                    continue
                image = self._picture(i, "mri", mri_data, mirrored)
                split_into(image, mri[k].numpy())
                if self.shards.labels[i] == 0 and not image.any():
                    self._black = mri_data
        labels = torch.from_numpy(self.shards.labels[request.ids].astype(np.float32))
        ids, epochs = torch.from_numpy(request.ids), torch.from_numpy(request.epochs)
        return Batch(face, mri, labels, ids, epochs, seeds, request.step)

    def _picture(self, i: int, member: str, data: bytes, mirrored: bool) -> Picture:
        try:
            image = decode(data)
        except DecodeError as error:
            raise self.shards.damaged(i, member, str(error)) from None
        image = resize(image, self.size)
        return flip(image) if mirrored else image


def _empty(count: int, size: int) -> torch.Tensor:
    """(count, 3, size, size) uint8; in a worker in shared memory, so that handing the batch over copies nothing."""
    shape = (count, 3, size, size)
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    storage = torch.UntypedStorage._new_shared(count * 3 * size * size)
    return torch.tensor([], dtype=torch.uint8).set_(storage, 0, shape)  # type: ignore[call-overload]


def start_worker(_: int) -> None:
    """One thread a worker; signals that are meant for the training process leave the workers at work.

    Launchers and Slurm signal whole process groups. The training process then saves a checkpoint, for which it may need
    some more batches, and stops its workers itself. A worker whose parent died ends by itself, and after SIGTERM it
    lives on for `TERM_GRACE` seconds at most.
    """
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # not 1: in a forked process that waits for ever for the parent's threads to end
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(TERM_GRACE))

"""The torch loader: worker processes read, decode and augment what the epoch plan asks for.

The main process draws the plan and sends each worker the ids of a whole batch; the worker decodes them straight into
one tensor in shared memory. Order and content depend on the plan and the keys, never on the number of workers.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from mrigan.data.augment import Augment
from mrigan.data.batch import Batch
from mrigan.data.decode import DecodeError, Picture, decode, flip, resize, split_into
from mrigan.data.draws import Draws
from mrigan.data.plan import EpochPlan, rank_range
from mrigan.data.reader import ShardSet
from mrigan.errors import ShardError

PREFETCH = 2  # batches a worker prepares ahead
TIMEOUT = 600  # seconds without a batch: a worker hangs
TERM_GRACE = 90  # seconds that a worker lives on after SIGTERM


@dataclass(frozen=True)
class Request:
    """What the main process asks of a worker: the samples of one batch of one rank."""

    step: int
    ids: npt.NDArray[np.int64]
    epochs: npt.NDArray[np.int64]


def make_loader(shards: ShardSet, plan: EpochPlan, *, global_batch: int, start_step: int, stop_step: int, rank: int = 0,
                world_size: int = 1, workers: int = 2, flip: float = 0.5, size: int = 256, seed: int = 0,
                augment: Augment | None = None, mri: bool | None = None, pin_memory: bool = False) -> Loader:
    """The training batches `start_step` … `stop_step - 1` of one rank.

    Args:
        global_batch: samples a step, over all ranks; a multiple of `world_size`.
        workers: processes; 0 = decode in this one.
        flip: probability of a horizontal flip, of face and MRI together.
        size: px, side of the pictures; stored ones of another size are resized by area.
        seed: of flips and augmentation, which depend on (seed, epoch, key) only.
        augment: applied to the face, after the flip; called with a generator of its own for every sample.
        mri: read the MRIs; None = where the shards are pairs and the face is not augmented (it would not fit its MRI).
        pin_memory: hand out page-locked batches, for a GPU.

    Raises:
        ConfigError: `global_batch` is no multiple of `world_size`.
        ShardError: while iterating, a missing, cut or damaged sample: names the shard, the key and the offset.
    """
    part = rank_range(global_batch, rank, world_size)
    if plan.samples != len(shards):
        raise ValueError(f"the plan is for {plan.samples} samples, the shards hold {len(shards)}")
    if mri is None:
        mri = shards.kind == "pairs" and augment is None
    if mri and augment is not None:
        raise ValueError("an augmented face no longer fits its MRI: load one or the other")

    def requests() -> Iterator[Request]:
        for step in range(start_step, stop_step):
            ids, epochs = plan.batch_with_epochs(step, global_batch)
            yield Request(step, ids[part], epochs[part])

    dataset = BatchDataset(shards, size=size, seed=seed, flip=flip, augment=augment, mri=mri)
    return Loader(dataset, requests(), workers, pin_memory)


def eval_batches(shards: ShardSet, ids: npt.ArrayLike, batch_size: int, *, workers: int = 0, size: int = 256,
                 mri: bool | None = None, pin_memory: bool = False) -> Loader:
    """The samples `ids` in their order, unchanged, `batch_size` at a time; the last batch may be smaller."""
    wanted = np.asarray(ids, dtype=np.int64)

    def requests() -> Iterator[Request]:
        for step, start in enumerate(range(0, len(wanted), batch_size)):
            part = wanted[start:start + batch_size]
            yield Request(step, part, np.zeros_like(part))

    mri = shards.kind == "pairs" if mri is None else mri
    return Loader(BatchDataset(shards, size=size, mri=mri), requests(), workers, pin_memory)


class Loader(Iterator[Batch]):
    """An iterator over batches; its workers stop at the end, on an error, and on `close` (or after `with`)."""

    def __init__(self, dataset: BatchDataset, requests: Iterable[Request], workers: int, pin_memory: bool) -> None:
        # The DataLoader draws a base seed: from a generator of its own, so that torch's global state stays as it is,
        # which an exact resume needs.
        several = {"prefetch_factor": PREFETCH, "timeout": TIMEOUT} if workers else {}
        self._batches: Iterator[Any] | None = iter(DataLoader(
            dataset, batch_size=None, sampler=requests, num_workers=workers, collate_fn=_as_is, pin_memory=pin_memory,
            worker_init_fn=_start_worker, generator=torch.Generator(), **several))  # type: ignore[arg-type]

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> Batch:
        if self._batches is None:
            raise StopIteration
        try:
            batch = next(self._batches)
        except StopIteration:
            self.close()
            raise
        if isinstance(batch, _Failure):
            self.close()
            raise ShardError(batch.what, where=batch.where, fix=batch.fix)
        return batch

    def close(self) -> None:
        """Stop the workers."""
        self._batches = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BatchDataset(Dataset[Any]):
    """Runs in the workers: `dataset[request]` is the batch, or what went wrong."""

    def __init__(self, shards: ShardSet, *, size: int, mri: bool, seed: int = 0, flip: float = 0.0,
                 augment: Augment | None = None) -> None:
        if mri and shards.kind != "pairs":
            raise ShardError("the shards hold no MRIs", where=shards.folders[0], fix="use shards of kind pairs")
        self.shards, self.size, self.mri, self.seed, self.flip, self.augment = shards, size, mri, seed, flip, augment
        self._black = b""  # the bytes of the last black MRI: every real's, so half of all are the same and decoded once

    def __getitem__(self, request: Request) -> Batch | _Failure:
        try:
            return self._batch(request)
        except ShardError as error:  # passed on as data: the DataLoader would turn it into a traceback as text
            return _Failure(error.what, str(error.where), error.fix)

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


@dataclass(frozen=True)
class _Failure:
    what: str
    where: str
    fix: str | None


def _empty(count: int, size: int) -> torch.Tensor:
    """(count, 3, size, size) uint8; in a worker in shared memory, so that handing the batch over copies nothing."""
    shape = (count, 3, size, size)
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    storage = torch.UntypedStorage._new_shared(count * 3 * size * size)
    return torch.tensor([], dtype=torch.uint8).set_(storage, 0, shape)  # type: ignore[call-overload]


def _as_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    """One thread a worker; signals that are meant for the training process leave the workers at work.

    Launchers and Slurm signal whole process groups. The training process then saves a checkpoint, for which it may need
    some more batches, and stops its workers itself. A worker whose parent died ends by itself, and after SIGTERM it
    lives on for `TERM_GRACE` seconds at most.
    """
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(TERM_GRACE))

"""The torch loader: worker processes read, decode and augment what the epoch plan asks for.

The main process draws the plan and sends each worker the ids of a whole batch; the worker decodes them straight into
one tensor in shared memory. Order and content depend on the plan and the keys, never on the number of workers.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from mrigan.data.augment import Augment
from mrigan.data.batch import Batch
from mrigan.data.plan import EpochPlan, rank_range
from mrigan.data.reader import ShardSet
from mrigan.data.worker import BatchDataset, Failure, Request, start_worker
from mrigan.errors import ConfigError, MriganError, ShardError

PREFETCH = 2  # batches a worker prepares ahead
TIMEOUT = 600  # seconds without a batch: a worker hangs
SHARED_MEMORY = Path("/dev/shm")


def make_loader(
    shards: ShardSet,
    plan: EpochPlan,
    *,
    global_batch: int,
    start_step: int,
    stop_step: int,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 2,
    flip: float = 0.5,
    size: int = 256,
    seed: int = 0,
    augment: Augment | None = None,
    mri: bool | None = None,
    pin_memory: bool = False,
) -> Loader:
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
        ConfigError: `global_batch` is no multiple of `world_size`, or shared memory is too small for `workers`.
        ShardError: while iterating, a missing, cut or damaged sample: names the shard, the key and the offset.
        MriganError: while iterating, a worker was killed or hangs. (Where it dies during a training step, torch's own
            RuntimeError, which says so too, can come there.)
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
    return Loader(dataset, requests(), batch_size=part.stop - part.start, workers=workers, pin_memory=pin_memory)


def eval_batches(
    shards: ShardSet,
    ids: npt.ArrayLike,
    batch_size: int,
    *,
    workers: int = 0,
    size: int = 256,
    mri: bool | None = None,
    pin_memory: bool = False,
) -> Loader:
    """The samples `ids` in their order, unchanged, `batch_size` at a time; the last batch may be smaller."""
    wanted = np.asarray(ids, dtype=np.int64)

    def requests() -> Iterator[Request]:
        for step, start in enumerate(range(0, len(wanted), batch_size)):
            part = wanted[start : start + batch_size]
            yield Request(step, part, np.zeros_like(part))

    mri = shards.kind == "pairs" if mri is None else mri
    dataset = BatchDataset(shards, size=size, mri=mri)
    return Loader(dataset, requests(), batch_size=batch_size, workers=workers, pin_memory=pin_memory)


class Loader(Iterator[Batch]):
    """An iterator over batches; its workers stop at the end, on an error, and on `close` (or after `with`)."""

    def __init__(
        self, dataset: BatchDataset, requests: Iterable[Request], *, batch_size: int, workers: int, pin_memory: bool
    ) -> None:
        self._batches: Any = None  # torch's iterator, while there is something to come
        _check_shared_memory(dataset.batch_bytes(batch_size), workers)
        # The DataLoader draws a base seed: from a generator of its own, so that torch's global state stays as it is,
        # which an exact resume needs.
        loader = DataLoader(
            dataset,
            batch_size=None,
            sampler=requests,
            num_workers=workers,
            collate_fn=_as_is,
            pin_memory=pin_memory,
            worker_init_fn=start_worker,
            generator=torch.Generator(),
            prefetch_factor=PREFETCH if workers else None,
            timeout=TIMEOUT if workers else 0,
        )
        with _without_opencv_threads():
            self._batches = iter(loader)
        # At exit, before multiprocessing's own handler: that one waits for workers, and nobody has told them to stop.
        self._at_exit = partial(_close, weakref.ref(self))
        atexit.register(self._at_exit)

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
        except (RuntimeError, ConnectionError, EOFError) as error:
            if type(error) is RuntimeError and not str(error).startswith("DataLoader "):  # torch's word for a lost one
                raise
            self.close()
            raise MriganError(
                f"a loader process is lost: {error}",
                fix="see whether memory ran out and take fewer data.workers; then start again",
            ) from error
        if isinstance(batch, Failure):
            self.close()
            raise ShardError(batch.what, where=batch.where, fix=batch.fix)
        return batch

    def close(self) -> None:
        """Stop the workers, and wait for them."""
        batches, self._batches = self._batches, None
        if batches is None:
            return
        atexit.unregister(self._at_exit)
        if hasattr(batches, "_shutdown_workers"):  # not left to its __del__: a traceback may hold it
            batches._shutdown_workers()
            for worker in batches._workers:
                if worker.is_alive():  # stuck in a read, and deaf to SIGTERM for a while
                    worker.kill()

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(loader: weakref.ref[Loader]) -> None:
    alive = loader()
    if alive is not None:
        alive.close()


@contextmanager
def _without_opencv_threads() -> Iterator[None]:
    """End OpenCV's thread pool while workers are forked.

    A forked child has the pool's locks but none of its threads: one child in seven hung at its first OpenCV call.
    """
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _check_shared_memory(batch_bytes: int, workers: int) -> None:
    """Containers often have 64 MiB of it; a worker that finds none left is killed in the middle of a run."""
    if not workers or not SHARED_MEMORY.is_dir():
        return
    state = os.statvfs(SHARED_MEMORY)
    free, needed = state.f_bavail * state.f_frsize, (PREFETCH * workers + 2) * batch_bytes
    if free < needed:
        raise ConfigError(
            f"{workers} loader processes need {needed >> 20} MiB of shared memory, {free >> 20} are free",
            where=SHARED_MEMORY,
            fix="give the container more (docker run --shm-size=8g), or set data.workers=0",
        )


def _as_is(batch: Any) -> Any:
    return batch

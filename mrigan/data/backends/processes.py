"""The loader with worker processes: torch's DataLoader, to which the plan says what each batch holds.

The main process draws the plan and sends each worker the ids of a whole batch; the worker decodes them straight into
one tensor in shared memory. For augmentation that holds the interpreter's lock; else threads are faster.
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

import torch
from torch.utils.data import DataLoader

from mrigan.data.assembly import Request
from mrigan.data.backends.base import TIMEOUT, Loader
from mrigan.data.backends.worker import BatchDataset, Failure, start_worker
from mrigan.data.batch import Batch
from mrigan.data.samples import Samples
from mrigan.errors import ConfigError, MriganError, ShardError
from mrigan.stopping import held_back

PREFETCH = 2  # batches a worker prepares ahead
SHARED_MEMORY = Path("/dev/shm")


class ProcessLoader(Loader):
    """Batches from worker processes.

    Args:
        batch_size: samples of the largest batch.
        workers: processes, at least 1.

    Raises:
        ConfigError: shared memory is too small.
    """

    def __init__(
        self, samples: Samples, requests: Iterable[Request], *, batch_size: int, workers: int, pin_memory: bool
    ) -> None:
        super().__init__()
        self._batches: Any = None  # torch's iterator, while there is something to come
        _check_shared_memory(batch_size * 3 * samples.size**2 * (2 if samples.mri else 1), workers)
        # The DataLoader draws a base seed: from a generator of its own, so that torch's global state stays as it is,
        # which an exact resume needs.
        loader = DataLoader(
            BatchDataset(samples),
            batch_size=None,
            sampler=requests,
            num_workers=workers,
            collate_fn=_as_is,
            pin_memory=pin_memory,
            worker_init_fn=start_worker,
            generator=torch.Generator(),
            prefetch_factor=PREFETCH,
            timeout=TIMEOUT,
        )
        with _without_opencv_threads(), held_back():
            self._batches = iter(loader)
        # At exit, before multiprocessing's own handler: that one waits for workers, and nobody has told them to stop.
        self._at_exit = partial(_close, weakref.ref(self))
        atexit.register(self._at_exit)

    def _next(self) -> Batch:
        try:
            batch = next(self._batches)
        except (RuntimeError, ConnectionError, EOFError) as error:
            if type(error) is RuntimeError and not str(error).startswith("DataLoader "):  # torch's word for a lost one
                raise
            raise MriganError(
                f"a loader process is lost: {error}",
                fix="see whether memory ran out and take fewer data.workers; then start again",
            ) from error
        if isinstance(batch, Failure):
            raise ShardError(batch.what, where=batch.where, fix=batch.fix)
        return batch

    def _stop(self) -> None:
        batches, self._batches = self._batches, None
        if batches is None:
            return
        atexit.unregister(self._at_exit)
        batches._shutdown_workers()  # not left to its __del__: a traceback may hold it
        for worker in batches._workers:
            if worker.is_alive():  # stuck in a read, and deaf to SIGTERM for a while
                worker.kill()


def _close(loader: weakref.ref[ProcessLoader]) -> None:
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
    if not SHARED_MEMORY.is_dir():
        return
    state = os.statvfs(SHARED_MEMORY)
    free, needed = state.f_bavail * state.f_frsize, (PREFETCH * workers + 2) * batch_bytes
    if free < needed:
        raise ConfigError(
            f"{workers} loader processes need {needed >> 20} MiB of shared memory, {free >> 20} are free",
            where=SHARED_MEMORY,
            fix="take data.workers_are=threads, or give the container more (docker run --shm-size=8g)",
        )


def _as_is(batch: Any) -> Any:
    return batch

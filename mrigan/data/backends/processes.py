"""The loader with worker processes: torch's DataLoader, whose sampler yields the plan's requests.

The main process sends each worker the ids of a whole batch; the worker decodes them into one tensor in shared memory.
For augmentation that holds Python's lock; otherwise threads are faster.
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

import cv2
import torch
from torch.utils.data import DataLoader

from mrigan.data.backends.base import TIMEOUT, Loader
from mrigan.data.backends.worker import BatchDataset, Failure, start_worker
from mrigan.data.batch import Batch, Request
from mrigan.data.samples import Samples
from mrigan.errors import ConfigError, MriganError, ShardError
from mrigan.stopping import held_back

PREFETCH = 2  # batches a worker prepares ahead
SHARED_MEMORY = Path("/dev/shm")


class ProcessLoader(Loader):
    """Batches from worker processes.

    Args:
        batch_size: samples in the largest batch.
        workers: processes, at least 1.

    Raises:
        ConfigError: shared memory is too small.
    """

    def __init__(
        self, samples: Samples, requests: Iterable[Request], *, batch_size: int, workers: int, pin_memory: bool
    ) -> None:
        super().__init__()
        batch_bytes = samples.batch_bytes(batch_size)
        self._batches = BatchProcesses(BatchDataset(samples), requests, batch_bytes, workers, pin_memory)

    def _next(self) -> Batch:
        return next(self._batches)

    def _stop(self) -> None:
        self._batches.close()


class BatchProcesses(Iterator[Batch]):
    """Worker processes that make batches.

    Args:
        dataset: what they run. It has the attribute `samples` and returns a `Batch` or a `Failure`.
        requests: the items that are asked of it; None = each worker iterates over it.
        batch_bytes: of the pictures in the largest batch.

    Raises:
        ConfigError: shared memory is too small.
    """

    def __init__(
        self, dataset: Any, requests: Iterable[Request] | None, batch_bytes: int, workers: int, pin_memory: bool
    ) -> None:
        self._batches: Any = None  # torch's iterator, until it is closed
        _check_shared_memory(batch_bytes, workers)
        # The DataLoader draws a base seed: from its own generator, because an exact resume needs torch's global state
        # unchanged.
        loader = DataLoader(
            dataset,
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
        # At exit, before multiprocessing's handler: that one waits for workers that nobody has asked to stop.
        self._at_exit = partial(_close, weakref.ref(self))
        atexit.register(self._at_exit)

    def __next__(self) -> Batch:
        try:
            batch = next(self._batches)
        except (RuntimeError, ConnectionError, EOFError) as error:
            if type(error) is RuntimeError and not str(error).startswith("DataLoader "):  # of a lost worker
                raise
            raise MriganError(
                f"a loader process was lost: {error}",
                fix="if memory ran out, use fewer data.workers; then start again",
            ) from error
        if isinstance(batch, Failure):
            raise ShardError(batch.what, where=batch.where, fix=batch.fix)
        return batch

    def close(self) -> None:
        """Stop the processes and wait for them."""
        batches, self._batches = self._batches, None
        if batches is None:
            return
        atexit.unregister(self._at_exit)
        batches._shutdown_workers()  # not only in its __del__: a traceback may hold a reference
        for worker in batches._workers:
            if worker.is_alive():  # blocked in a read, and ignoring SIGTERM for a while
                worker.kill()


def _close(processes: weakref.ref[BatchProcesses]) -> None:
    open_processes = processes()
    if open_processes is not None:
        open_processes.close()


@contextmanager
def _without_opencv_threads() -> Iterator[None]:
    """End OpenCV's thread pool while workers are forked.

    A forked child inherits the pool's locks without its threads: one child in seven hung at its first OpenCV call.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _check_shared_memory(batch_bytes: int, workers: int) -> None:
    """Containers often have 64 MiB of it; a worker that finds none left is killed during the run."""
    if not SHARED_MEMORY.is_dir():
        return
    state = os.statvfs(SHARED_MEMORY)
    free, needed = state.f_bavail * state.f_frsize, (PREFETCH * workers + 2) * batch_bytes
    if free < needed:
        raise ConfigError(
            f"{workers} loader processes need {needed >> 20} MiB of shared memory, {free >> 20} MiB are free",
            where=SHARED_MEMORY,
            fix="use data.workers_are=threads, or give the container more (docker run --shm-size=8g)",
        )


def _as_is(batch: Any) -> Any:
    return batch

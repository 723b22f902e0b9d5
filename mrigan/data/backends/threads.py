"""The loader with threads: reading, checking and decoding release Python's lock, so several threads fill a batch.

Nothing is copied between processes: pictures are decoded into the memory that the training step reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from mrigan.data.backends.base import TIMEOUT, Loader
from mrigan.data.backends.buffers import BufferPool, pinned
from mrigan.data.batch import Batch, DecodedBatch, EncodedBatch, Request
from mrigan.data.samples import Samples
from mrigan.errors import MriganError

SLOTS_A_TASK = 8  # that a thread fills at a time
MIN_AHEAD = 2  # batches that are filled before they are asked for
B = TypeVar("B", bound=EncodedBatch)


class Filled(Iterator[B], Generic[B]):
    """Batches in the order of their requests, filled by `threads` threads (0: by the caller, none ahead).

    Raises:
        MriganError: while iterating, if no batch comes for `TIMEOUT` seconds; and what filling a batch raises.
    """

    def __init__(self, requests: Iterable[Request], start: Callable[[Request], B], threads: int) -> None:
        self._requests, self._start, self._threads = iter(requests), start, threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="loader") if threads else None
        self._ahead: deque[tuple[B, list[Future[None]]]] = deque()
        self._slots = 0  # in `_ahead`

    def __next__(self) -> B:
        if self._pool is None:
            batch = self._start(next(self._requests))
            batch.fill(0, len(batch.request))
            return batch
        # Small batches make few tasks: more of them are started, so that no thread is idle.
        while len(self._ahead) <= MIN_AHEAD or self._slots < 2 * SLOTS_A_TASK * self._threads:
            request = next(self._requests, None)
            if request is None:
                break
            batch = self._start(request)
            starts = range(0, len(request), SLOTS_A_TASK)
            tasks = [self._pool.submit(batch.fill, at, min(at + SLOTS_A_TASK, len(request))) for at in starts]
            self._ahead.append((batch, tasks))
            self._slots += len(request)
        if not self._ahead:
            raise StopIteration
        batch, tasks = self._ahead.popleft()
        self._slots -= len(batch.request)
        for task in tasks:
            try:
                task.result(TIMEOUT)
            except TimeoutError:
                raise MriganError(
                    f"no batch came for {TIMEOUT} seconds", fix="check whether the storage of the shards hangs"
                ) from None
        return batch

    def close(self) -> None:
        """Stop the threads, each after its slot."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._ahead.clear()


class ThreadLoader(Loader):
    """Batches decoded on the CPU by threads of this process.

    Args:
        workers: threads; 0 = the caller decodes each batch when it asks for it.
        pin_memory: decode into page-locked memory, for a GPU.
    """

    def __init__(self, samples: Samples, requests: Iterable[Request], *, workers: int, pin_memory: bool) -> None:
        super().__init__()
        allocate = pinned if pin_memory else BufferPool()
        self._filled = Filled(requests, lambda request: DecodedBatch(samples, request, allocate), workers)

    def _next(self) -> Batch:
        return next(self._filled).finished()

    def _stop(self) -> None:
        self._filled.close()

"""A loader's worker process: it reads, decodes, flips and augments into tensors in shared memory."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

import cv2
import torch
from torch.utils.data import Dataset, get_worker_info

from mrigan.data.batch import Batch, DecodedBatch, Request
from mrigan.data.samples import Samples
from mrigan.errors import ShardError
from mrigan.stopping import accept_signals

TERM_GRACE = 90  # seconds that a worker lives on after SIGTERM


@dataclass(frozen=True)
class Failure:
    """A `ShardError` on its way to the main process. (Of an exception, the DataLoader sends the traceback as text.)"""

    what: str
    where: str
    fix: str | None

    @classmethod
    def of(cls, error: ShardError) -> Failure:
        """The error of a worker."""
        return cls(error.what, str(error.where), error.fix)


class BatchDataset(Dataset[Any]):
    """Runs in the workers: `dataset[request]` is the batch, or its error."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, request: Request) -> Batch | Failure:
        try:
            batch = DecodedBatch(self.samples, request, shared_memory)
            batch.fill(0, len(request))
            return batch.finished()
        except ShardError as error:
            return Failure.of(error)


def shared_memory(shape: tuple[int, ...]) -> torch.Tensor:
    """Memory for pictures; in a worker it is shared, so the batch reaches the main process without a copy."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    storage = torch.UntypedStorage._new_shared(torch.Size(shape).numel())
    return torch.tensor([], dtype=torch.uint8).set_(storage, 0, shape)  # type: ignore[call-overload]


def start_worker(_: int) -> None:
    """Use one thread, and ignore the signals that are meant for the training process.

    Launchers and Slurm signal whole process groups. The training process then saves a checkpoint, for which it may need
    some more batches, and stops its workers itself. A worker whose parent died ends by itself; after SIGTERM it lives
    for at most `TERM_GRACE` seconds.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # not 1: a forked process would wait for the parent's threads forever
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(TERM_GRACE))
    accept_signals()
    worker = get_worker_info()
    assert worker is not None
    dataset: Any = worker.dataset
    dataset.samples.shards.reopen()  # a thread of the parent may have held its lock during the fork

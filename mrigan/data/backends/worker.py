"""What a loader's worker process does: read, decode, flip, augment, into tensors in shared memory."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset, get_worker_info

from mrigan.data.assembly import DecodedBatch, Request
from mrigan.data.batch import Batch
from mrigan.data.samples import Samples
from mrigan.errors import ShardError
from mrigan.stopping import accept_signals

TERM_GRACE = 90  # seconds that a worker lives on after SIGTERM


@dataclass(frozen=True)
class Failure:
    """A `ShardError` on its way to the main process; the DataLoader would make a traceback as text of an exception."""

    what: str
    where: str
    fix: str | None


class BatchDataset(Dataset[Any]):
    """Runs in the workers: `dataset[request]` is the batch, or what went wrong."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, request: Request) -> Batch | Failure:
        try:
            batch = DecodedBatch(self.samples, request, _shared)
            batch.fill(0, len(request))
            return batch.finished()
        except ShardError as error:
            return Failure(error.what, str(error.where), error.fix)


def _shared(shape: tuple[int, ...]) -> torch.Tensor:
    """Memory for pictures; in a worker it is shared, so that handing the batch over copies nothing."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    storage = torch.UntypedStorage._new_shared(torch.Size(shape).numel())
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
    accept_signals()
    worker = get_worker_info()
    assert worker is not None
    assert isinstance(worker.dataset, BatchDataset)
    worker.dataset.samples.shards.reopen()  # a thread of the parent may have held its lock at the fork

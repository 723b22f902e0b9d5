"""What happens after each step, in order: a checkpoint keeps what was logged and scored before it, and nothing that
diverged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mrigan.training.callbacks.base import Callback, load_callbacks
from mrigan.training.callbacks.checkpoint import SaveCheckpoint
from mrigan.training.callbacks.divergence import Divergence
from mrigan.training.callbacks.evaluate import Evaluate
from mrigan.training.callbacks.log import Log
from mrigan.training.callbacks.pace import Pace
from mrigan.training.callbacks.stop import Stop
from mrigan.training.job import Job


@contextmanager
def open_callbacks(job: Job) -> Iterator[Sequence[Callback]]:
    """The callbacks of a training, from its checkpoint on; closed on the way out."""
    divergence, evaluate = Divergence(job), Evaluate(job)
    seen = [Pace(job), divergence, Log(job, on_line=divergence.after_line), evaluate]
    checkpoint = SaveCheckpoint(job, seen, evaluate)
    callbacks: list[Callback] = [*seen, checkpoint, Stop(job, checkpoint)]
    if job.run.resumed is not None:
        load_callbacks(callbacks, job.run.resumed)
    failed = True
    try:
        yield callbacks
        failed = False
    finally:
        for callback in callbacks:
            callback.close(failed)

"""What happens after each step: one `Callback` per concern, called in this order.

Pace            pace.py          tells the watchdog that the rank makes progress
Divergence      divergence.py    losses that are not finite (guard.py) or rise far (spikes.py): stop, skip, roll back
Log             log.py           losses (meters.py), rates, memory, nodes (system.py): console, metrics.jsonl, MLflow
Evaluate        evaluate.py      held-out metrics, and the score that chooses the best checkpoint
your own        `train(..., callbacks=[...])`
SaveCheckpoint  checkpoint.py    after all that it must contain, and never of a state that has diverged
Stop            stop.py          ends the run between two steps if a signal requested it
"""

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
def open_callbacks(job: Job, added: Sequence[type[Callback]] = ()) -> Iterator[Sequence[Callback]]:
    """The callbacks of a training, with the state of its checkpoint; closed at the end.

    Args:
        added: classes of a user's own callbacks.
    """
    divergence, evaluate = Divergence(job), Evaluate(job)
    first: list[Callback] = [Pace(job), divergence, Log(job, on_line=divergence.after_line), evaluate]
    first += [callback(job) for callback in added]
    checkpoint = SaveCheckpoint(job, first, evaluate)
    callbacks = [*first, checkpoint, Stop(job, checkpoint)]
    if job.run.resumed is not None:
        load_callbacks(callbacks, job.run.resumed)
    failed = True
    try:
        yield callbacks
        failed = False
    finally:
        for callback in callbacks:
            callback.close(failed)

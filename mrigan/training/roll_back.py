"""Going back to a checkpoint in the middle of a run: the weights go back, the data go on.

The batches between the checkpoint and the step at hand are left out, as in PaLM (Chowdhery et al., 2022, section 5.1):
the same weights on the same batches would only diverge again. Steps are counted on from the checkpoint.

Nothing of the decision is written but what it leads to. A job that is killed before its next checkpoint goes on from
the one before, diverges again at the same step, and goes back again: the same run.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mrigan.engine.checkpoint import Checkpoint
from mrigan.training.callbacks.base import Callback, RollBack, load_callbacks
from mrigan.training.callbacks.guard import DivergedError
from mrigan.training.job import Job

log = logging.getLogger(__name__)


def roll_back(job: Job, callbacks: Sequence[Callback], order: RollBack) -> None:
    """Take networks, optimizers, averages, callbacks and files back. Every rank must call it.

    Raises:
        DivergedError: on every rank: it has been done `health.roll_back_limit` times, or there is no checkpoint.
    """
    run, state, limit = job.run, job.state, job.config.health.roll_back_limit
    if state.roll_backs >= limit:
        raise DivergedError(
            f"training diverged: {order.why}; it has gone back {state.roll_backs} times, "
            f"and health.roll_back_limit is {limit}",
            fix="start anew with a smaller optim.lr, optim.clip=1, or train.precision=fp32",
        )
    for callback in callbacks:
        callback.settle()
    with run.health.slow("checkpoint"):
        found = run.world.on_main(lambda: _find(job, order.first_bad))
        if found is None:
            raise DivergedError(
                f"training diverged: {order.why}; there is no checkpoint before step {order.first_bad} to go back to",
                fix="smaller checkpoint.every; or start anew with a smaller optim.lr, optim.clip=1, or "
                "train.precision=fp32",
            )
        checkpoint, step = run.store.load(found, verify=False), state.step
        state.left_out += step - found
        state.roll_backs += 1
        run.world.on_main(lambda: _rewind(job, checkpoint, step, order.why))
        state.load_weights(checkpoint)
    load_callbacks(callbacks, checkpoint)


def _find(job: Job, first_bad: int) -> int | None:
    checkpoint = job.run.store.before(first_bad)
    return checkpoint.step if checkpoint else None


def _rewind(job: Job, checkpoint: Checkpoint, step: int, why: str) -> None:
    run, state, back = job.run, job.state, checkpoint.step
    log.warning("%s; back to the checkpoint of step %d, past %d batches", why, back, step - back)
    run.store.rewind(checkpoint)
    run.tracking.rewind(back)
    # A line of the first step that differs: a run that starts again at the checkpoint drops it, and writes it anew.
    run.tracking.log_metrics({"health/rolled_back_from": step, "health/roll_backs": state.roll_backs,
                              "health/batches_left_out": state.left_out}, back + 1)  # fmt: skip
    run.folder.set_status("running", step=back)

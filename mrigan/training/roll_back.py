"""Return to a checkpoint during a run: the weights are restored, but the data continue.

The batches between the checkpoint and the current step are skipped, as in PaLM (Chowdhery et al., 2022, section 5.1),
because the same weights would diverge again on the same batches. Steps are counted from the checkpoint.

The decision itself is not stored. A job that is killed before its next checkpoint continues from the one before,
diverges again at the same step, and returns again: the same run.
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
    """Restore networks, optimizers, averages, callbacks and files. Every rank must call it.

    Raises:
        DivergedError: on every rank, after `health.roll_back_limit` returns, or if there is no checkpoint.
    """
    run, state, limit = job.run, job.state, job.config.health.roll_back_limit
    if state.roll_backs >= limit:
        raise DivergedError(
            f"training diverged: {order.why}; the run has returned to a checkpoint {state.roll_backs} times, "
            f"and health.roll_back_limit is {limit}",
            fix="start a new run with a smaller optim.lr, optim.clip=1, or train.precision=fp32",
        )
    for callback in callbacks:
        callback.settle()
    with run.health.slow("checkpoint"):
        target = run.world.on_main(lambda: _find(job, order.first_bad))
        if target is None:
            raise DivergedError(
                f"training diverged: {order.why}; there is no checkpoint before step {order.first_bad}",
                fix="a smaller checkpoint.every; or start a new run with a smaller optim.lr, optim.clip=1, or "
                "train.precision=fp32",
            )
        checkpoint, step = run.store.load(target, verify=False), state.step
        state.left_out += step - target
        state.roll_backs += 1
        run.world.on_main(lambda: _rewind(job, checkpoint, step, order.why))
        state.load_weights(checkpoint)
    load_callbacks(callbacks, checkpoint)


def _find(job: Job, first_bad: int) -> int | None:
    checkpoint = job.run.store.before(first_bad)
    return checkpoint.step if checkpoint else None


def _rewind(job: Job, checkpoint: Checkpoint, step: int, why: str) -> None:
    run, state, back = job.run, job.state, checkpoint.step
    log.warning("%s; returning to the checkpoint of step %d, and skipping %d batches", why, back, step - back)
    run.store.rewind(checkpoint)
    run.tracking.rewind(back)
    # For the first step that differs: a run that restarts from the checkpoint drops this line, and writes it again.
    run.tracking.log_metrics({"health/rolled_back_from": step, "health/roll_backs": state.roll_backs,
                              "health/batches_left_out": state.left_out}, back + 1)  # fmt: skip
    run.folder.set_status("running", step=back)

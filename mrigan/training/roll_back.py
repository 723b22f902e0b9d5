"""Going back to a checkpoint in the middle of a run: the weights go back, the data go on.

The batches between the checkpoint and the step at hand are left out, as in PaLM (Chowdhery et al., 2022, section 5.1):
the same weights on the same batches would only diverge again. Steps are counted on from the checkpoint.

Nothing of the decision is written but what it leads to. A job that is killed before its next checkpoint goes on from
the one before, diverges again at the same step, and goes back again: the same run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from mrigan.engine.average import Average
from mrigan.engine.checkpoint import Checkpoint
from mrigan.engine.interface import Engine
from mrigan.training.guard import DivergedError
from mrigan.training.job import Job
from mrigan.training.resume_check import restored
from mrigan.training.saving import CheckpointHook

log = logging.getLogger(__name__)


class RollBack:
    """Takes networks, optimizers, averages, hooks and files back.

    Args:
        job, engines, average: as for the hooks.
        checkpoint: the hook that saves.
        load: continues the other hooks from a checkpoint's state.
    """

    def __init__(
        self,
        job: Job[Any],
        engines: Mapping[str, Engine],
        average: Average | None,
        checkpoint: CheckpointHook,
        load: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.job, self.engines, self.average = job, engines, average
        self.checkpoint, self.load = checkpoint, load

    def __call__(self, step: int, first_bad: int, why: str) -> None:
        """Go back from `step` to the newest checkpoint before `first_bad`. Every rank must call it.

        Raises:
            DivergedError: on every rank: it has been done `health.roll_back_limit` times, or there is no checkpoint.
        """
        job, limit = self.job, self.job.config.health.roll_back_limit
        if job.roll_backs >= limit:
            raise DivergedError(
                f"training diverged: {why}; it has gone back {job.roll_backs} times, "
                f"and health.roll_back_limit is {limit}",
                fix="start anew with a smaller optim.lr, optim.clip=1, or train.precision=fp32",
            )
        self.checkpoint.finish()
        with job.health.slow("checkpoint"):
            found = job.world.on_main(lambda: self._find(first_bad))
            if found is None:
                raise DivergedError(
                    f"training diverged: {why}; there is no checkpoint before step {first_bad} to go back to",
                    fix="smaller checkpoint.every; or start anew with a smaller optim.lr, optim.clip=1, or "
                    "train.precision=fp32",
                )
            checkpoint = job.store.load(found, verify=False)
            job.go_back(checkpoint, step)
            job.world.on_main(lambda: self._rewind(checkpoint, step, why))
            job.resume(self.engines, self.average)
        self.checkpoint.went_back(found)
        restored("meter or divergence", checkpoint, self.load, checkpoint.state)

    def _find(self, first_bad: int) -> int | None:
        checkpoint = self.job.store.before(first_bad)
        return checkpoint.step if checkpoint else None

    def _rewind(self, checkpoint: Checkpoint, step: int, why: str) -> None:
        job, back = self.job, checkpoint.step
        log.warning("%s; back to the checkpoint of step %d, past %d batches", why, back, step - back)
        job.store.rewind(checkpoint)
        job.journal.rewind(back)
        # A line of the first step that differs: a job that starts again at the checkpoint drops it, and writes it anew.
        job.journal.log(back + 1, {"health/rolled_back_from": float(step), "health/roll_backs": float(job.roll_backs),
                                   "health/batches_left_out": float(job.left_out)}, say=False)  # fmt: skip
        job.folder.set_status("running", step=back)

"""When a checkpoint is due, and what it contains. Training waits only for a copy in memory; a thread writes it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mrigan.config import to_dict
from mrigan.engine.tensor_file import Snapshot, TensorFile
from mrigan.engine.writer import BackgroundWriter
from mrigan.errors import MriganError
from mrigan.tracking import code_version
from mrigan.training.callbacks.base import Callback
from mrigan.training.callbacks.evaluate import Evaluate
from mrigan.training.job import Job
from mrigan.training.task import StepResult

log = logging.getLogger(__name__)


class SaveCheckpoint(Callback):
    """Saves a checkpoint every `checkpoint.every` steps, after the last step, and at a stop.

    A failed write requests a stop like a signal, so that the error is raised on every rank after the current step.

    Args:
        job: the training.
        before: the callbacks whose state the checkpoint contains.
        evaluate: the one of them that has the score.
    """

    def __init__(self, job: Job, before: Sequence[Callback], evaluate: Evaluate) -> None:
        super().__init__(job)
        self.before, self.evaluate = before, evaluate
        self._saved = job.run.start
        self._snapshot = Snapshot()
        self._writer = BackgroundWriter(job.run.request_stop)

    def after_step(self, result: StepResult) -> None:
        step = self.job.state.step
        if step % self.job.config.checkpoint.every == 0 or step == self.job.data.steps:
            self.save()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._saved = self.job.state.step

    def save(self) -> None:
        """Copy everything, and start to write it; waits only for an earlier checkpoint that is still being written.

        Every rank must call it; rank 0 writes.

        Raises:
            CheckpointError: the earlier checkpoint could not be written.
        """
        step = self.job.state.step
        if step == self._saved:
            return
        with self.job.run.health.slow("checkpoint"):
            self.settle()
            files, state, score = self.job.state.tensors(self.job.task), self._state(), self.evaluate.score
            if self.job.run.world.main:
                copies = self._snapshot.take(files)
                self._writer.submit(lambda: self._write(step, copies, state, score))
        self._saved = step

    def settle(self) -> None:
        """Wait until nothing is being written. Every rank must call it.

        Raises:
            CheckpointError: on every rank, if a checkpoint could not be written.
        """
        with self.job.run.health.slow("checkpoint"):
            self.job.run.world.on_main(self._writer.wait)

    def close(self, failed: bool) -> None:
        if not failed:
            self.settle()
            return
        try:  # another error is being raised already
            self._writer.wait()
        except MriganError as error:
            log.error("%s", error)

    def _state(self) -> dict[str, Any]:
        job, run, state = self.job, self.job.run, self.job.state
        epoch, sample = divmod(state.place * job.config.train.batch_size, job.data.plan.epoch_length)
        found = {
            "kind": job.task.name,
            "epoch": epoch,
            "sample": sample,
            **state.state_dict(),
            "config": to_dict(job.config),
            "depends": run.depends,
            "code_version": code_version(),
            "mlflow_run_id": run.tracking.id,
            "world_size": run.world.size,
        }
        for callback in self.before:
            found |= callback.state_dict()
        return found

    def _write(self, step: int, files: Mapping[str, TensorFile], state: dict[str, Any], score: float | None) -> None:
        path = self.job.run.store.save(step, files, state, score)
        self.job.run.folder.set_status("running", step=step)
        log.info("saved %s", path)

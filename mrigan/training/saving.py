"""When a checkpoint is due, and what is in it. The ranks stop for a copy in memory; the disk is left to a thread."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from mrigan.config import to_dict
from mrigan.engine.average import Average
from mrigan.engine.interface import Engine
from mrigan.engine.tensor_file import Snapshot, TensorFile
from mrigan.engine.writer import BackgroundWriter
from mrigan.errors import MriganError
from mrigan.models import Generator
from mrigan.models.generator_file import generator_metadata
from mrigan.tracking import code_version
from mrigan.training.job import Job

log = logging.getLogger(__name__)


class CheckpointHook:
    """A checkpoint every `checkpoint.every` steps, after the last one, and when a signal asks for a stop.

    `others` gives what the other hooks keep; every rank calls it.

    A write that fails asks for a stop as a signal does, so that its error comes up on every rank after this step.
    """

    def __init__(
        self,
        job: Job[Any],
        engines: Mapping[str, Engine],
        others: Callable[[], dict[str, Any]],
        average: Average | None = None,
    ) -> None:
        self.job, self.engines, self.others, self.average = job, engines, others, average
        self._saved = job.start
        self._snapshot = Snapshot()
        self._writer = BackgroundWriter(self._ask_for_a_stop)

    def after_step(self, step: int, score: float | None) -> None:
        if step % self.job.config.checkpoint.every == 0 or step == self.job.steps:
            self.save(step, score)

    def save(self, step: int, score: float | None = None) -> None:
        """Copy everything, and begin to write it; waits only for a checkpoint that is still being written.

        Every rank must call it; rank 0 writes.

        Raises:
            CheckpointError: the checkpoint before could not be written.
        """
        if step == self._saved:
            return
        with self.job.health.slow("checkpoint"):
            self._save(step, score)

    def finish(self) -> None:
        """Wait until nothing is being written. Every rank must call it.

        Raises:
            CheckpointError: on every rank, when it could not be written.
        """
        with self.job.health.slow("checkpoint"):
            self.job.world.on_main(self._writer.wait)

    def went_back(self, step: int) -> None:
        """The run has gone back to the checkpoint of `step`."""
        self._saved = step

    def abandon(self) -> None:
        """Wait for the write under way while another error is on its way up; the peers may be gone."""
        try:
            self._writer.wait()
        except MriganError as error:
            log.error("%s", error)

    def _save(self, step: int, score: float | None) -> None:
        job = self.job
        self.finish()
        files: dict[str, TensorFile] = {}
        for name, engine in self.engines.items():
            weights, optimizer = engine.state()
            files[name] = TensorFile(weights, _header(engine.module, step))
            files[f"{name}_optimizer"] = TensorFile(optimizer)
        if self.average is not None:
            files["generator_ema"] = TensorFile(self.average.state(), _header(self.average.module, step))
        state = self._state(step)
        if job.world.main:
            copies = self._snapshot.take(files)
            self._writer.submit(lambda: self._write(step, copies, state, score))
        self._saved = step

    def _state(self, step: int) -> dict[str, Any]:
        job = self.job
        epoch, sample = divmod((step + job.left_out) * job.config.train.batch_size, job.plan.epoch_length)
        return {
            "kind": job.kind,
            "epoch": epoch,
            "sample": sample,
            "left_out": job.left_out,
            "roll_backs": job.roll_backs,
            **self.others(),
            "precision": job.precision.state(),
            "config": to_dict(job.config),
            "depends": job.depends,
            "code_version": code_version(),
            "mlflow_run_id": job.tracking.id,
            "world_size": job.world.size,
        }

    def _write(self, step: int, files: Mapping[str, TensorFile], state: dict[str, Any], score: float | None) -> None:
        path = self.job.store.save(step, files, state, score)
        self.job.folder.set_status("running", step=step)
        log.info("saved %s", path)

    def _ask_for_a_stop(self) -> None:
        self.job.stop.received = self.job.stop.received or signal.SIGUSR1


def _header(network: nn.Module, step: int) -> dict[str, str]:
    """A generator in a checkpoint is a generator file: `load_generator` reads it where it lies."""
    return generator_metadata(network, {"step": step}) if isinstance(network, Generator) else {}

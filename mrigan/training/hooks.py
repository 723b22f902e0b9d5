"""What happens after a step besides the step: log, evaluate, save. One class a concern; every rank runs them all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from mrigan.config import to_dict
from mrigan.engine.checkpoint import TensorFile
from mrigan.engine.interface import Engine
from mrigan.engine.signals import Stopped
from mrigan.models import Generator
from mrigan.models.generator_file import generator_metadata
from mrigan.tracking import code_version
from mrigan.training.job import Job
from mrigan.training.meters import Meter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """Held-out figures of one step; `score` chooses the best checkpoint, higher is better, None = not known here."""

    metrics: dict[str, float | None] = field(default_factory=dict)
    score: float | None = None


class LogHook:
    """Losses (means since the last line, over steps and ranks), images/s, and the share of time waited for data."""

    def __init__(self, job: Job[Any]) -> None:
        self.job, self.meter = job, Meter(job.world)
        if job.resumed is not None:
            self.meter.load(job.resumed.state["meter"])
        self._since, self._step, self._waited = time.perf_counter(), job.start, job.waited

    def after_step(self, step: int, losses: Mapping[str, torch.Tensor]) -> None:
        self.meter.add(losses)
        job = self.job
        if step % job.config.tracking.log_every and step != job.steps:
            return
        means = self.meter.read()
        self.meter.reset()
        seconds = max(time.perf_counter() - self._since, 1e-9)
        batch = job.config.train.batch_size
        job.journal.log(step, {
            **{f"train/{name}": value for name, value in means.items()},
            "epoch": step * batch / job.plan.epoch_length,
            "images_per_second": (step - self._step) * batch / seconds,
            "data_wait": (job.waited - self._waited) / seconds,
        })  # fmt: skip
        self._since, self._step, self._waited = time.perf_counter(), step, job.waited

    def skip(self, seconds: float) -> None:
        """Leave time that was not spent on training out of the rate."""
        self._since += seconds


class EvaluateHook:
    """Held-out figures every `eval.every` steps, and wherever a checkpoint is due: each of those has a score."""

    def __init__(self, job: Job[Any], evaluate: Callable[[int], Evaluation]) -> None:
        self.job, self.evaluate = job, evaluate

    def after_step(self, step: int) -> float | None:
        """The score of `step`, if it was evaluated."""
        config = self.job.config
        if step % config.eval.every and step % config.checkpoint.every and step != self.job.steps:
            return None
        result = self.evaluate(step)
        self.job.journal.log(step, {f"val/{name}": value for name, value in result.metrics.items()})
        return result.score


class CheckpointHook:
    """A checkpoint every `checkpoint.every` steps, after the last one, and when a signal asks for a stop."""

    def __init__(self, job: Job[Any], engines: Mapping[str, Engine], meter: Meter) -> None:
        self.job, self.engines, self.meter = job, engines, meter
        self._saved = job.start

    def after_step(self, step: int, score: float | None) -> None:
        if step % self.job.config.checkpoint.every == 0 or step == self.job.steps:
            self.save(step, score)

    def save(self, step: int, score: float | None = None) -> None:
        """Every rank must call it; rank 0 writes."""
        job = self.job
        if step == self._saved:
            return
        files: dict[str, TensorFile] = {}
        for name, engine in self.engines.items():
            weights, optimizer = engine.state()
            files[name] = TensorFile(weights, _header(engine.module, step))
            files[f"{name}_optimizer"] = TensorFile(optimizer)
        epoch, sample = divmod(step * job.config.train.batch_size, job.plan.epoch_length)
        state = {
            "kind": job.kind,
            "epoch": epoch,
            "sample": sample,
            "meter": self.meter.state(),
            "config": to_dict(job.config),
            "depends": job.depends,
            "code_version": code_version(),
            "mlflow_run_id": job.tracking.id,
            "world_size": job.world.size,
        }
        job.world.on_main(lambda: self._write(step, files, state, score))
        self._saved = step

    def _write(self, step: int, files: Mapping[str, TensorFile], state: dict[str, Any], score: float | None) -> None:
        path = self.job.store.save(step, files, state, score)
        self.job.folder.set_status("running", step=step)
        log.info("saved %s", path)


def _header(network: torch.nn.Module, step: int) -> dict[str, str]:
    """A generator in a checkpoint is a generator file: `load_generator` reads it where it lies."""
    return generator_metadata(network, {"step": step}) if isinstance(network, Generator) else {}


class Hooks:
    """All of them, in order: a checkpoint keeps what was logged and scored before it."""

    def __init__(self, job: Job[Any], engines: Mapping[str, Engine], evaluate: Callable[[int], Evaluation]) -> None:
        self.job = job
        self.log = LogHook(job)
        self.evaluate = EvaluateHook(job, evaluate)
        self.checkpoint = CheckpointHook(job, engines, self.log.meter)

    def after_step(self, step: int, losses: Mapping[str, torch.Tensor]) -> None:
        """`step` optimizer steps are done; `losses` are scalars on the device."""
        self.log.after_step(step, losses)
        begin = time.perf_counter()
        score = self.evaluate.after_step(step)
        self.checkpoint.after_step(step, score)
        self.log.skip(time.perf_counter() - begin)

    def stop_if_asked(self, step: int) -> None:
        """Save and leave when any rank has received a signal.

        Raises:
            Stopped: on every rank.
        """
        name = self.job.stop.agreed(step)
        if name:
            self.checkpoint.save(step)
            raise Stopped(
                f"stopped by {name} at step {step} of {self.job.steps}, and saved",
                where=self.job.folder.path,
                fix="the same command goes on from here",
            )

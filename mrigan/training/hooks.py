"""What happens after a step besides the step: log, evaluate, save. One class a concern; every rank runs them all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch

from mrigan.engine.average import Average
from mrigan.engine.interface import Engine
from mrigan.engine.signals import Stopped
from mrigan.training.job import Job
from mrigan.training.meters import DivergedError, Meter
from mrigan.training.saving import CheckpointHook

log = logging.getLogger(__name__)

SMALLEST_SCALE = 2.0**-10  # of fp16's losses: below it is no overflow that a smaller scale would help


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
        self._check(means["skipped"])
        seconds = max(time.perf_counter() - self._since, 1e-9)
        batch = job.config.train.batch_size
        job.journal.log(step, {
            **{f"train/{name}": value for name, value in means.items()},
            "epoch": step * batch / job.plan.epoch_length,
            "images_per_second": (step - self._step) * batch / seconds,
            "data_wait": (job.waited - self._waited) / seconds,
        })  # fmt: skip
        self._since, self._step, self._waited = time.perf_counter(), step, job.waited

    def _check(self, skipped: float) -> None:
        """Raise DivergedError where steps are left out for another reason than a loss scale that is being found."""
        precision = self.job.precision
        if skipped and not (precision.scales and float(precision.scale) >= SMALLEST_SCALE):
            raise DivergedError(
                f"the gradient was not finite in {skipped:.0%} of the steps since the last line; they were left out",
                fix="go on from the last checkpoint with a smaller optim.lr, with optim.clip, or train.precision=fp32",
            )

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
        with self.job.health.slow("validation"):
            result = self.evaluate(step)
        self.job.journal.log(step, {f"val/{name}": value for name, value in result.metrics.items()})
        return result.score


class Hooks:
    """All of them, in order: a checkpoint keeps what was logged and scored before it.

    A context; on the way out it waits for the checkpoint that is still being written.
    """

    def __init__(
        self,
        job: Job[Any],
        engines: Mapping[str, Engine],
        evaluate: Callable[[int], Evaluation],
        average: Average | None = None,
    ) -> None:
        self.job = job
        self.log = LogHook(job)
        self.evaluate = EvaluateHook(job, evaluate)
        self.checkpoint = CheckpointHook(job, engines, self.log.meter, average)

    def __enter__(self) -> Hooks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.checkpoint.finish()
        else:
            self.checkpoint.abandon()

    def after_step(self, step: int, losses: Mapping[str, torch.Tensor]) -> None:
        """`step` optimizer steps are done; `losses` are scalars on the device."""
        self.job.health.stepped(step)
        self.log.after_step(step, losses)
        begin = time.perf_counter()
        score = self.evaluate.after_step(step)
        self.checkpoint.after_step(step, score)
        self.log.skip(time.perf_counter() - begin)

    def stop_if_asked(self, step: int) -> None:
        """Save and leave when any rank has received a signal.

        Raises:
            Stopped: on every rank.
            CheckpointError: on every rank, when a checkpoint could not be written: that too asks for a stop.
            TrackingError: MLflow failed for too long, under `tracking.on_failure: stop`; all is saved.
        """
        name = self.job.stop.agreed(step)
        if name:
            self.checkpoint.save(step)
            self.checkpoint.finish()
            self.job.world.on_main(self.job.tracking.check)
            raise Stopped(
                f"stopped by {name} at step {step} of {self.job.steps}, and saved",
                where=self.job.folder.path,
                fix="the same command goes on from here",
            )

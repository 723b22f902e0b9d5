"""What happens after a step besides the step: look for divergence, log, evaluate, save. One class a concern; every rank
runs them all."""

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
from mrigan.engine.interrupt import expect_steps_of
from mrigan.stopping import Stopped
from mrigan.training.divergence import DivergenceHook
from mrigan.training.forecast import warn_of_long_steps
from mrigan.training.job import Job
from mrigan.training.log_line import LogHook
from mrigan.training.resume_check import restored
from mrigan.training.roll_back import RollBack
from mrigan.training.saving import CheckpointHook
from mrigan.training.throughput import Work

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """Held-out figures of one step; `score` chooses the best checkpoint, higher is better, None = not known here."""

    metrics: dict[str, float | None] = field(default_factory=dict)
    score: float | None = None


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
    """All of them, in order: a checkpoint keeps what was logged and scored before it, and nothing that diverged.

    A context; on the way out it waits for the checkpoint that is still being written.

    Args:
        job: the training job, resumed.
        engines, average: what is trained, by the names that checkpoints have for it.
        evaluate: held-out figures of a step.
        work: what a step does, for the MFU in the log, and to say beforehand where it will take long.
        scored_on: what the score is of. A checkpoint whose score was of something else is not the best one any more.
    """

    def __init__(
        self,
        job: Job[Any],
        engines: Mapping[str, Engine],
        evaluate: Callable[[int], Evaluation],
        average: Average | None = None,
        *,
        work: Work | None = None,
        scored_on: str = "",
    ) -> None:
        self.scored_on = scored_on
        self.job, self._work, self._last = job, work, 0.0
        self.log = LogHook(job, engines, work)
        self.evaluate = EvaluateHook(job, evaluate)
        self.checkpoint = CheckpointHook(job, engines, self._state, average)
        self.divergence = DivergenceHook(job, RollBack(job, engines, average, self.checkpoint, self._load))
        self._done = job.start
        if job.resumed is not None:
            restored("meter or divergence", job.resumed, self._load, job.resumed.state)
            if job.world.main and job.store.best and job.resumed.state.get("scored_on", "") != scored_on:
                log.info("the scores so far are of other held-out faces: the best checkpoint is chosen anew")
                job.store.best = None

    def __enter__(self) -> Hooks:
        if self._work is not None:
            warn_of_long_steps(self.job, self._work)
        self._last = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.checkpoint.finish()
        else:
            self.checkpoint.abandon()

    def after_step(self, step: int, losses: Mapping[str, torch.Tensor]) -> None:
        """`step` optimizer steps are done; `losses` are scalars on the device.

        Raises:
            DivergedError: on every rank; see `health.on_nan` and `health.on_spike`.
        """
        self.job.health.stepped(step)
        self._done = step
        now = time.perf_counter()
        expect_steps_of(now - self._last)
        try:
            self._after_step(step, losses)
        finally:
            self._last = time.perf_counter()

    def _after_step(self, step: int, losses: Mapping[str, torch.Tensor]) -> None:
        if self.divergence.after_step(step, losses):
            return
        means = self.log.after_step(step, losses)
        if means is not None and self.divergence.after_line(step, means):
            return
        begin = time.perf_counter()
        score = self.evaluate.after_step(step)
        self.checkpoint.after_step(step, score)
        self.log.skip(time.perf_counter() - begin)

    def stop_if_asked(self) -> None:
        """Save and leave when any rank has received a signal; call it after `after_step`.

        Raises:
            Stopped: on every rank.
            CheckpointError: on every rank, when a checkpoint could not be written: that too asks for a stop.
            TrackingError: MLflow failed for too long, under `tracking.on_failure: stop`; all is saved.
        """
        step = self._done
        if step == self.job.start:
            return  # it has just gone back, which the checkpoint of a later step will know of
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

    def _state(self) -> dict[str, Any]:
        return {"meter": self.log.meter.state(), "scored_on": self.scored_on, "divergence": self.divergence.state()}

    def _load(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint, at the start or after going back to it."""
        self._done = self.job.start
        self.log.load(state["meter"])
        self.divergence.load(state["divergence"])

"""Held-out figures, and the score by which the best checkpoint is chosen."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mrigan.training.callbacks.base import Callback
from mrigan.training.task import StepResult

log = logging.getLogger(__name__)


class Evaluate(Callback):
    """Held-out figures every `eval.every` steps, and wherever a checkpoint is due: each of those has a score.

    Attributes:
        score: of the last step; None where it was not evaluated.
    """

    score: float | None = None

    def after_step(self, result: StepResult) -> None:
        job, config, step = self.job, self.job.config, self.job.state.step
        self.score = None
        if step % config.eval.every and step % config.checkpoint.every and step != job.data.steps:
            return
        with job.run.health.slow("validation"):
            found = job.task.evaluate(job)
        metrics = {f"val/{name}": value for name, value in found.metrics.items()}
        job.run.tracking.log_metrics(metrics, step)
        shown = [f"{name} {value:.4g}" for name, value in metrics.items() if value is not None]
        if shown:
            log.info("step %d: %s", step, ", ".join(shown))
        self.score = found.score

    def state_dict(self) -> dict[str, Any]:
        return {"scored_on": self.job.task.scored_on}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """A checkpoint whose score is of other faces is not the best one any more."""
        run = self.job.run
        if run.world.main and run.store.best and state.get("scored_on", "") != self.job.task.scored_on:
            log.info("the scores so far are of other held-out faces: the best checkpoint is chosen anew")
            run.store.best = None

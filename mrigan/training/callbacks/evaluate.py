"""Held-out metrics, and the score that chooses the best checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mrigan.training.callbacks.base import Callback
from mrigan.training.task import StepResult

log = logging.getLogger(__name__)


class Evaluate(Callback):
    """Evaluates every `eval.every` steps, and before each checkpoint, so that each checkpoint has a score.

    Attributes:
        score: of the current step; None if it was not evaluated.
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
        """Forget the best checkpoint if its score is of other faces."""
        run = self.job.run
        if run.world.main and run.store.best and state.get("scored_on", "") != self.job.task.scored_on:
            log.info("earlier scores are of other held-out faces: the best checkpoint is chosen from the new ones")
            run.store.best = None

"""How long a step takes: for the watch over the ranks, and for the answer to Ctrl-C."""

from __future__ import annotations

import time

from mrigan.engine.interrupt import expect_steps_of
from mrigan.training.callbacks.base import Callback
from mrigan.training.task import StepResult


class Pace(Callback):
    """Tells the watch that the rank goes on, and how long its step took, the wait for its batch included."""

    def after_step(self, result: StepResult) -> None:
        self.job.run.health.stepped(self.job.state.step)
        expect_steps_of(time.perf_counter() - self.job.data.asked)

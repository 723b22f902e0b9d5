"""The time of a step, for the watchdog and for the answer to Ctrl-C."""

from __future__ import annotations

import time

from mrigan.engine.interrupt import expect_steps_of
from mrigan.training.callbacks.base import Callback
from mrigan.training.task import StepResult


class Pace(Callback):
    """Reports each step to the watchdog, and its time, including the wait for the batch."""

    def after_step(self, result: StepResult) -> None:
        self.job.run.health.stepped(self.job.state.step)
        expect_steps_of(time.perf_counter() - self.job.data.asked)

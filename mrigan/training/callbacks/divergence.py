"""The policies of `health.*` for losses that are not finite, and for losses that spike.

All ranks decide the same, from exchanged values, at steps that depend only on the config. So a run that is stopped and
resumed takes the same decisions (except that a checkpoint saved at the stop may be a nearer one to roll back to).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mrigan.training.callbacks.base import Callback, RollBack
from mrigan.training.callbacks.guard import BadSteps, DivergedError, Guard
from mrigan.training.callbacks.spikes import Spike, SpikeMonitor
from mrigan.training.job import Job
from mrigan.training.task import StepResult

log = logging.getLogger(__name__)

MAX_KEYS = 8  # of samples in a message
NEW_RUN = "or start a new run with a smaller optim.lr, optim.clip=1, or train.precision=fp32"


class Divergence(Callback):
    """Checks the losses, and follows the policy.

    `after_step` and `after_line` raise, on every rank: RollBack or DivergedError, if that is the policy.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.settings = job.config.health
        self.guard = Guard(job.run.world, job.state.precision)
        self.spikes = SpikeMonitor(self.settings.spike, self.settings.spike_window)
        self._line = job.run.start  # the step of the last line

    def after_step(self, result: StepResult) -> None:
        """Record a step; check the recorded ones at lines of the log and before checkpoints."""
        step = self.job.state.step
        self.guard.record(step, result.losses, result.skipped)
        if self.job.line_is_due() or step % self.job.config.checkpoint.every == 0:
            bad = self.guard.check()
            if bad is not None:
                self._not_finite(bad)

    def after_line(self, means: Mapping[str, float]) -> None:
        """Compare the losses of a line of the log with earlier ones."""
        step = self.job.state.step
        first, self._line = self._line + 1, step
        if self.settings.spike:
            found = self.spikes.check(means)
            spiked = {f"health/spike_{spike.name}": spike.deviation for spike in found}
            self.job.run.tracking.log_metrics(spiked, step)
            if found:
                self._spiked(step, first, found)

    def state_dict(self) -> dict[str, Any]:
        return {
            "divergence": {"guard": self.guard.state_dict(), "spikes": self.spikes.state_dict(), "line": self._line}
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        own = state["divergence"]
        self.guard.load_state_dict(own["guard"])
        self.spikes.load_state_dict(own["spikes"])
        self._line = int(own["line"])

    def _not_finite(self, bad: BadSteps) -> None:
        policy, limit = self.settings.on_nan, self.settings.skip_limit
        text = f"{bad} ({self._samples(bad)})"
        self.job.run.tracking.log_metrics({"health/bad_steps": len(bad.steps)}, self.job.state.step)
        if policy == "skip" and bad.in_a_row <= limit:
            self._warn(
                "%s; the step was skipped, the run continues (%d in a row, at most %d)", text, bad.in_a_row, limit
            )
            return
        if policy == "roll_back":
            raise RollBack(bad.steps[0], text)
        if policy == "skip":
            text += f"; {bad.in_a_row} such steps in a row, and health.skip_limit is {limit}"
        raise DivergedError(
            f"training diverged: {text}",
            fix="the weights are valid, because such a step does not change them. Look at the samples; the same "
            f"command with health.on_nan={'' if policy == 'skip' else 'skip or '}roll_back continues; {NEW_RUN}",
        )

    def _spiked(self, step: int, first: int, found: list[Spike]) -> None:
        text = f"step {step}: " + ", ".join(str(spike) for spike in found)
        if self.settings.on_spike == "roll_back":
            raise RollBack(first, text)
        if self.settings.on_spike == "stop":
            raise DivergedError(
                f"a loss has spiked: {text}",
                fix="the same command with health.on_spike=report or roll_back continues from the last checkpoint; "
                f"{NEW_RUN}",
            )
        self._warn("a loss has spiked: %s", text)

    def _samples(self, bad: BadSteps) -> str:
        keys = self.job.data.keys(bad.steps[0] - 1 + self.job.state.left_out, bad.rank)
        if not keys:
            return "samples of a stream, whose keys are not kept"
        more = f" and {len(keys) - MAX_KEYS} more" if len(keys) > MAX_KEYS else ""
        return f"samples {', '.join(keys[:MAX_KEYS])}{more}"

    def _warn(self, message: str, *values: object) -> None:
        if self.job.run.world.main:
            log.warning(message, *values)

"""What is done about losses that are not finite, and about losses that spike: the policies of `health.*`.

All ranks decide the same, from what they have told one another, and at steps that follow from the config alone: a run
that was stopped and goes on takes the same turns. (Where its stop has left a checkpoint that is nearer, it goes back to
that one.)
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mrigan.training.callbacks.base import Callback, RollBack
from mrigan.training.callbacks.guard import DivergedError, Guard, Trouble
from mrigan.training.callbacks.spikes import Spike, SpikeMonitor
from mrigan.training.job import Job
from mrigan.training.task import StepResult

log = logging.getLogger(__name__)

MAX_KEYS = 8  # of samples in a message
ANEW = "or start anew with a smaller optim.lr, optim.clip=1, or train.precision=fp32"


class Divergence(Callback):
    """The guard and the spike monitor of a training, with what follows.

    Raises, on every rank: RollBack, where the policy is to go back; DivergedError, where it is to stop.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.settings = job.config.health
        self.guard = Guard(job.run.world, job.state.precision)
        self.spikes = SpikeMonitor(self.settings.spike, self.settings.spike_window)
        self._line = job.run.start  # the step of the last line

    def after_step(self, result: StepResult) -> None:
        """Note a step; at lines of the log and before checkpoints, look."""
        step = self.job.state.step
        self.guard.note(step, result.losses, result.skipped)
        if self.job.line_is_due() or step % self.job.config.checkpoint.every == 0:
            trouble = self.guard.look()
            if trouble is not None:
                self._not_finite(trouble)

    def after_line(self, means: Mapping[str, float]) -> None:
        """Judge the losses of a line."""
        step = self.job.state.step
        first, self._line = self._line + 1, step
        if self.settings.spike:
            found = self.spikes.look(means)
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

    def _not_finite(self, trouble: Trouble) -> None:
        policy, limit = self.settings.on_nan, self.settings.skip_limit
        said = f"{trouble} ({self._samples(trouble)})"
        self.job.run.tracking.log_metrics({"health/bad_steps": len(trouble.steps)}, self.job.state.step)
        if policy == "skip" and trouble.in_a_row <= limit:
            self._warn("%s; left out, and on goes the run (%d in a row of at most %d)", said, trouble.in_a_row, limit)
            return
        if policy == "roll_back":
            raise RollBack(trouble.steps[0], said)
        if policy == "skip":
            said += f"; {trouble.in_a_row} such steps in a row, and health.skip_limit is {limit}"
        raise DivergedError(
            f"training diverged: {said}",
            fix="the weights are sound, for such a step changes nothing: look at the samples; the same command with "
            f"{'health.on_nan=roll_back' if policy == 'skip' else 'health.on_nan=skip or roll_back'} goes on; {ANEW}",
        )

    def _spiked(self, step: int, first: int, found: list[Spike]) -> None:
        said = f"step {step}: " + ", ".join(str(spike) for spike in found)
        if self.settings.on_spike == "roll_back":
            raise RollBack(first, said)
        if self.settings.on_spike == "stop":
            raise DivergedError(
                f"a loss has spiked: {said}",
                fix="the same command with health.on_spike=report or roll_back goes on from the last checkpoint; "
                f"{ANEW}",
            )
        self._warn("a loss has spiked: %s", said)

    def _samples(self, trouble: Trouble) -> str:
        keys = self.job.data.keys(trouble.steps[0] - 1 + self.job.state.left_out, trouble.rank)
        if not keys:
            return "samples of a stream, whose keys are not kept"
        more = f" and {len(keys) - MAX_KEYS} more" if len(keys) > MAX_KEYS else ""
        return f"samples {', '.join(keys[:MAX_KEYS])}{more}"

    def _warn(self, message: str, *values: object) -> None:
        if self.job.run.world.main:
            log.warning(message, *values)

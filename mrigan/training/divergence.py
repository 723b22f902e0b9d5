"""What is done about losses that are not finite, and about losses that spike: the policies of `health.*`.

All ranks decide the same, from what they have told one another, and at steps that follow from the config alone: a run
that was stopped and goes on takes the same turns. (Where its stop has left a checkpoint that is nearer, it goes back to
that one.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch

from mrigan.training.guard import DivergedError, Guard, Trouble
from mrigan.training.job import Job
from mrigan.training.log_line import is_due
from mrigan.training.spikes import Spike, SpikeMonitor

log = logging.getLogger(__name__)

SHOWN = 8  # keys of samples in a message
NO_LOSSES = ("accuracy", "skipped")  # among what a step returns
ANEW = "or start anew with a smaller optim.lr, optim.clip=1, or train.precision=fp32"

GoBack = Callable[[int, int, str], None]  # (the step at hand, the first bad step, why)


class DivergenceHook:
    """The guard and the spike monitor of a job, with what follows.

    Args:
        job: the training job.
        go_back: takes all ranks back to a checkpoint before a step.
    """

    def __init__(self, job: Job[Any], go_back: GoBack) -> None:
        self.job, self.go_back = job, go_back
        self.settings = job.config.health
        self.guard = Guard(job.world, job.precision)
        self.spikes = SpikeMonitor(self.settings.spike, self.settings.spike_window)
        self._line = job.start  # the step of the last line

    def after_step(self, step: int, losses: Mapping[str, torch.Tensor]) -> bool:
        """Note a step; at lines of the log and before checkpoints, look.

        Returns:
            Whether the run went back: `step` is undone.

        Raises:
            DivergedError: on every rank, where the policy is to stop.
        """
        self.guard.note(step, losses)
        if not is_due(self.job, step) and step % self.job.config.checkpoint.every:
            return False
        trouble = self.guard.look()
        return trouble is not None and self._not_finite(step, trouble)

    def after_line(self, step: int, means: Mapping[str, float]) -> bool:
        """Judge the losses of a line; else as `after_step`."""
        first, self._line = self._line + 1, step
        if not self.settings.spike:
            return False
        found = self.spikes.look({name: value for name, value in means.items() if name not in NO_LOSSES})
        self.job.journal.log(step, {f"health/spike_{spike.name}": spike.deviation for spike in found}, say=False)
        return bool(found) and self._spiked(step, first, found)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps. Every rank must call it; it waits for the device."""
        return {"guard": self.guard.state(), "spikes": self.spikes.state(), "line": self._line}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`."""
        self.guard.load(state["guard"])
        self.spikes.load(state["spikes"])
        self._line = int(state["line"])

    def _not_finite(self, step: int, trouble: Trouble) -> bool:
        policy, limit = self.settings.on_nan, self.settings.skip_limit
        said = f"{trouble} ({self._samples(trouble)})"
        self.job.journal.log(step, {"health/bad_steps": float(len(trouble.steps))}, say=False)
        if policy == "skip" and trouble.in_a_row <= limit:
            self._warn("%s; left out, and on goes the run (%d in a row of at most %d)", said, trouble.in_a_row, limit)
            return False
        if policy == "roll_back":
            self.go_back(step, trouble.steps[0], said)
            return True
        if policy == "skip":
            said += f"; {trouble.in_a_row} such steps in a row, and health.skip_limit is {limit}"
        raise DivergedError(
            f"training diverged: {said}",
            fix="the weights are sound, for such a step changes nothing: look at the samples; the same command with "
            f"{'health.on_nan=roll_back' if policy == 'skip' else 'health.on_nan=skip or roll_back'} goes on; {ANEW}",
        )

    def _spiked(self, step: int, first: int, found: list[Spike]) -> bool:
        said = f"step {step}: " + ", ".join(str(spike) for spike in found)
        if self.settings.on_spike == "roll_back":
            self.go_back(step, first, said)
            return True
        if self.settings.on_spike == "stop":
            raise DivergedError(
                f"a loss has spiked: {said}",
                fix="the same command with health.on_spike=report or roll_back goes on from the last checkpoint; "
                f"{ANEW}",
            )
        self._warn("a loss has spiked: %s", said)
        return False

    def _samples(self, trouble: Trouble) -> str:
        keys = self.job.keys(trouble.steps[0], trouble.rank)
        more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
        return f"samples {', '.join(keys[:SHOWN])}{more}"

    def _warn(self, message: str, *values: object) -> None:
        if self.job.world.main:
            log.warning(message, *values)

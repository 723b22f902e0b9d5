"""The interface of a callback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrigan.engine.checkpoint import Checkpoint
from mrigan.training.job import Job
from mrigan.training.resume_check import restored
from mrigan.training.task import StepResult


class RollBack(Exception):  # noqa: N818 - a request to the loop
    """Raised by a callback, on every rank, to undo the step; the callbacks after it are not called.

    Args:
        first_bad: the run continues from the newest checkpoint before this step.
        why: for the log.
    """

    def __init__(self, first_bad: int, why: str) -> None:
        super().__init__(why)
        self.first_bad, self.why = first_bad, why


class Callback:
    """One concern of a training. Each rank has its own instance, and all ranks call the same methods in the same order.

    Args:
        job: the training. In `after_step`, `job.state.step` is the number of steps done.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def after_step(self, result: StepResult) -> None:
        """Called after each step.

        Raises:
            RollBack, or a MriganError, which ends the run: on every rank.
        """

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint: JSON, with keys that no other callback uses. It may wait for the device."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of a checkpoint, at a start or after a roll back; `job.state` has done so already.

        Args:
            state: of all callbacks.
        """

    def settle(self) -> None:
        """Wait for work in the background."""

    def close(self, failed: bool) -> None:
        """Called at the end of the run. If it failed, other ranks may be gone: no collective calls."""


def load_callbacks(callbacks: Sequence[Callback], checkpoint: Checkpoint) -> None:
    """Load the state of each callback.

    Raises:
        CheckpointError: the state of a checkpoint without a checksum has another form.
    """

    def load(state: Mapping[str, Any]) -> None:
        for callback in callbacks:
            callback.load_state_dict(state)

    restored("meter or divergence", checkpoint, load, checkpoint.state)

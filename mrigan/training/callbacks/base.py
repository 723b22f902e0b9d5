"""What happens after a step besides the step: one concern a file, in the order that `open_callbacks` gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrigan.engine.checkpoint import Checkpoint
from mrigan.training.job import Job
from mrigan.training.resume_check import restored
from mrigan.training.task import StepResult


class RollBack(Exception):  # noqa: N818 - an order, which the loop carries out
    """Raised by a callback, on every rank: the step is undone, and those behind it do not see it.

    Args:
        first_bad: the run goes back to the newest checkpoint before this step.
        why: for the log.
    """

    def __init__(self, first_bad: int, why: str) -> None:
        super().__init__(why)
        self.first_bad, self.why = first_bad, why


class Callback:
    """One concern of a training; every rank has it, and calls each method at the same place.

    Args:
        job: the training; `job.state.step` counts the step that is done.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def after_step(self, result: StepResult) -> None:
        """A step is done, and the callbacks before this one have seen it.

        Raises:
            RollBack, or a MriganError that ends the run: on every rank.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, under keys of its own; JSON. It may wait for the device."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of a checkpoint, at the start or after going back to it; `job.state` has done so."""

    def settle(self) -> None:
        """Wait for what is done in the background."""

    def close(self, failed: bool) -> None:
        """The run ends. Where it failed the peers may be gone: nothing may be sent to them."""


def load_callbacks(callbacks: Sequence[Callback], checkpoint: Checkpoint) -> None:
    """Each continues from the checkpoint.

    Raises:
        CheckpointError: the state of an unchecked checkpoint has another form.
    """

    def load(state: Mapping[str, Any]) -> None:
        for callback in callbacks:
            callback.load_state_dict(state)

    restored("meter or divergence", checkpoint, load, checkpoint.state)

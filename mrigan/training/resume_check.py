"""Whether a whole checkpoint is one that this run has saved.

`mrigan.engine.checkpoint` knows that the bytes are as they were written. This knows what they must say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrigan.engine.checkpoint import MARKER, Checkpoint
from mrigan.errors import CheckpointError

COUNTS = ("epoch", "sample", "left_out", "roll_backs", "world_size")
SECTIONS = ("config", "depends", "precision", "meter", "divergence")


def check_position(checkpoint: Checkpoint, batch_size: int, epoch_length: int) -> None:
    """Refuse a checkpoint of format 1 whose place in the epoch plan is not that of its step: an edited `left_out`.

    From format 2 on the checksum says the same of all values.

    Args:
        batch_size: samples a step, of all ranks.
        epoch_length: samples an epoch.

    Raises:
        CheckpointError: its values contradict one another; going on would read other batches.
    """
    state = checkpoint.state
    if checkpoint.has_checksum:
        return
    for key in COUNTS:
        if type(state.get(key)) is not int or state[key] < 0:
            raise CheckpointError(f"{MARKER} says {key}={state.get(key)!r}", where=checkpoint.path)
    for key in SECTIONS:
        if not isinstance(state.get(key), dict):
            raise CheckpointError(f"{MARKER} has no {key}", where=checkpoint.path)
    if not isinstance(state.get("mlflow_run_id"), str | None):
        raise CheckpointError(f"{MARKER} says mlflow_run_id={state['mlflow_run_id']!r}", where=checkpoint.path)
    there = divmod((checkpoint.step + state["left_out"]) * batch_size, epoch_length)
    if there != (state["epoch"], state["sample"]):
        raise CheckpointError(
            f"{MARKER} contradicts itself: after {checkpoint.step} steps and {state['left_out']} batches left out the "
            f"run is at sample {there[1]} of epoch {there[0]}, and it says sample {state['sample']} of epoch "
            f"{state['epoch']}",
            where=checkpoint.path,
        )


def restored(what: str, checkpoint: Checkpoint, load: Any, state: Mapping[str, Any] | Any) -> None:
    """`load(state)`, in words where the state of an unchecked checkpoint has another form.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    try:
        load(state)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if checkpoint.has_checksum:
            raise  # as it was saved: an error of ours
        raise CheckpointError(
            f"{MARKER} holds another {what} than was saved: {error!r}",
            where=checkpoint.path,
            fix="move this checkpoint away; the same command goes on from the one before",
        ) from None

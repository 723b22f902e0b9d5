"""Check that an undamaged checkpoint can belong to this run.

`mrigan.engine.checkpoint` checks the bytes of a checkpoint, and this module their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrigan.engine.checkpoint import MARKER, Checkpoint
from mrigan.errors import CheckpointError

COUNTS = ("epoch", "sample", "left_out", "roll_backs", "world_size")
SECTIONS = ("config", "depends", "precision", "meter", "divergence")


def check_position(checkpoint: Checkpoint, batch_size: int, epoch_length: int) -> None:
    """Refuse a checkpoint of format 1 whose place in the epoch plan contradicts its step (an edited `left_out`).

    From format 2 on, a checksum protects all values.

    Args:
        batch_size: samples per step, over all ranks.
        epoch_length: samples per epoch.

    Raises:
        CheckpointError: its values contradict each other; to continue would read other batches.
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
    position = divmod((checkpoint.step + state["left_out"]) * batch_size, epoch_length)
    if position != (state["epoch"], state["sample"]):
        raise CheckpointError(
            f"{MARKER} contradicts itself: after {checkpoint.step} steps and {state['left_out']} skipped batches a run "
            f"is at sample {position[1]} of epoch {position[0]}, not {state['sample']} of epoch {state['epoch']}",
            where=checkpoint.path,
        )


def restored(what: str, checkpoint: Checkpoint, load: Any, state: Mapping[str, Any] | Any) -> None:
    """Call `load(state)`, with an error in words if a checkpoint without checksum has a state of another form.

    Raises:
        CheckpointError: the state cannot be loaded.
    """
    try:
        load(state)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if checkpoint.has_checksum:
            raise  # the state is as it was saved, so this is a bug
        raise CheckpointError(
            f"{MARKER} has a damaged value of {what}: {error!r}",
            where=checkpoint.path,
            fix="move this checkpoint away; the same command continues from the one before",
        ) from None

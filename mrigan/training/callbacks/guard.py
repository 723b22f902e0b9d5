"""Finds losses and gradients that are not finite. They are recorded on the device, and read when the host waits anyway.

The optimizer itself skips a step whose gradient is not finite, on all ranks (`GuardedOptimizer`). So the weights stay
valid, and the check can wait until the next line of the log.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.errors import MriganError

MIN_SCALE = 2.0**-10  # of fp16: below it, a smaller loss scale would not help


class DivergedError(MriganError):
    """Losses or gradients are not finite, or a loss has spiked, and the policy of `health.*` is to stop."""


@dataclass(frozen=True)
class BadSteps:
    """Steps whose losses or gradients were not finite; the same on every rank.

    Attributes:
        steps: their numbers, ascending.
        checked: the number of steps that were checked.
        in_a_row: the largest number of consecutive bad steps so far, including those of earlier checks.
        losses: rank → the losses of the first bad step that were not finite there; {} = only a gradient.
    """

    steps: tuple[int, ...]
    checked: int
    in_a_row: int
    losses: dict[int, dict[str, float]]

    @property
    def rank(self) -> int | None:
        """The first rank with a loss that is not finite; None = only the gradient, which is that of all ranks."""
        return min(self.losses, default=None)

    def __str__(self) -> str:
        what = "the gradient was not finite"
        if self.losses:
            rank = min(self.losses)
            what = ", ".join(f"{name} = {value}" for name, value in self.losses[rank].items()) + f" on rank {rank}"
            if len(self.losses) > 1:
                what += f" and {len(self.losses) - 1} more"
        more = f"; so were {len(self.steps) - 1} more of {self.checked} steps" if len(self.steps) > 1 else ""
        return f"step {self.steps[0]}: {what}{more}"


class Guard:
    """Records the losses of every step; only in `check` the host waits for the device.

    A step is bad if a loss of any rank is not finite, or if an optimizer skipped its step. Steps that fp16 skips while
    it searches its loss scale are not bad.
    """

    def __init__(self, world: World, precision: Precision) -> None:
        self.world, self.precision = world, precision
        self._names: list[str] = []
        self._steps: list[int] = []
        self._bad: list[torch.Tensor] = []  # of these steps: 0 or 1
        self._values: list[torch.Tensor] = []  # and their losses; empty for steps from a checkpoint
        self._in_a_row = 0  # consecutive bad steps up to the last check

    def record(self, step: int, losses: Mapping[str, torch.Tensor], skipped: torch.Tensor) -> None:
        """Record the scalars of one step, on the device; see `StepResult`."""
        self._names = list(losses)
        values = torch.stack([value.detach().float() for value in losses.values()])
        bad_step = skipped > 0
        if self.precision.scales:
            bad_step = bad_step & (self.precision.scale < MIN_SCALE)
        bad = bad_step | ~values.isfinite().all()
        self._steps.append(step)
        self._bad.append(bad.float())
        self._values.append(values)

    def check(self) -> BadSteps | None:
        """The bad steps since the last check, None if there were none. Every rank must call it, after the same step."""
        steps, values, flags = self._steps, self._values, self._agreed()
        self._steps, self._bad, self._values = [], [], []
        longest = 0
        for bad in flags:
            self._in_a_row = self._in_a_row + 1 if bad else 0
            longest = max(longest, self._in_a_row)
        found = tuple(step for step, bad in zip(steps, flags, strict=True) if bad)
        if not found:
            return None
        return BadSteps(found, len(steps), longest, self._at(values[steps.index(found[0])]))

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint, with the unchecked steps. Every rank must call it; it waits for the device."""
        return {"in_a_row": self._in_a_row, "pending": list(zip(self._steps, self._agreed(), strict=True))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`, which does not have the losses of its steps."""
        self._in_a_row = int(state["in_a_row"])
        self._steps = [int(step) for step, _ in state["pending"]]
        device = self.world.device
        self._bad = [torch.tensor(float(bad), device=device) for _, bad in state["pending"]]
        self._values = [torch.empty(0, device=device) for _ in self._steps]

    def _agreed(self) -> list[bool]:
        """For each step, whether it was bad on any rank."""
        return (self.world.sum(torch.stack(self._bad)) > 0).tolist() if self._bad else []

    def _at(self, values: torch.Tensor) -> dict[int, dict[str, float]]:
        """For each rank, the losses of a step that are not finite."""
        parts = [part.tolist() for part in self.world.gather(values.cpu())]
        wrong = ({n: x for n, x in zip(self._names, part, strict=False) if not math.isfinite(x)} for part in parts)
        return {rank: losses for rank, losses in enumerate(wrong) if losses}

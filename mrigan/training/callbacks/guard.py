"""What is not finite: noted on the device after every step, looked at where the host reads from the device anyway.

An optimizer itself skips the step of a gradient that is not finite, on all ranks (`GuardedOptimizer`). So the weights
are sound whatever is found here, and there is time until the next line of the log.
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

SMALLEST_SCALE = 2.0**-10  # of fp16's losses: below it is no overflow that a smaller scale would help


class DivergedError(MriganError):
    """Losses or gradients are not finite, or a loss has risen far; the policy of `health.*` is to stop."""


@dataclass(frozen=True)
class Trouble:
    """Steps whose losses or gradients were not finite; the same on every rank.

    Attributes:
        steps: their numbers, ascending.
        looked_at: steps that were looked at.
        in_a_row: the longest row of them up to now, those of earlier looks included.
        losses: rank → the losses of the first such step that were not finite there; {} = a gradient alone.
    """

    steps: tuple[int, ...]
    looked_at: int
    in_a_row: int
    losses: dict[int, dict[str, float]]

    @property
    def rank(self) -> int | None:
        """The first rank with a loss that is not finite; None = the gradient alone, of all ranks together."""
        return min(self.losses, default=None)

    def __str__(self) -> str:
        what = "the gradient was not finite"
        if self.losses:
            rank = min(self.losses)
            what = ", ".join(f"{name} = {value}" for name, value in self.losses[rank].items()) + f" on rank {rank}"
            if len(self.losses) > 1:
                what += f" and {len(self.losses) - 1} more"
        more = f"; so were {len(self.steps) - 1} more of {self.looked_at} steps" if len(self.steps) > 1 else ""
        return f"step {self.steps[0]}: {what}{more}"


class Guard:
    """Notes every step's losses; `look` is the only point at which the host waits for the device.

    A step is bad where a loss of any rank is not finite or an optimizer left its step out. While fp16 looks for its
    loss scale, steps that it leaves out are not bad.
    """

    def __init__(self, world: World, precision: Precision) -> None:
        self.world, self.precision = world, precision
        self._names: list[str] = []
        self._steps: list[int] = []
        self._bad: list[torch.Tensor] = []  # of these steps: 0 or 1
        self._values: list[torch.Tensor] = []  # and their losses; none of a step that a checkpoint tells of
        self._in_a_row = 0  # bad steps up to the last look

    def note(self, step: int, losses: Mapping[str, torch.Tensor], skipped: torch.Tensor) -> None:
        """Keep one step's scalars, on the device; see `StepResult`."""
        self._names = list(losses)
        values = torch.stack([value.detach().float() for value in losses.values()])
        left_out = skipped > 0
        if self.precision.scales:
            left_out = left_out & (self.precision.scale < SMALLEST_SCALE)
        bad = left_out | ~values.isfinite().all()
        self._steps.append(step)
        self._bad.append(bad.float())
        self._values.append(values)

    def look(self) -> Trouble | None:
        """The bad steps since the last look, None where there were none. Every rank must call it, after one step."""
        steps, values, flags = self._steps, self._values, self._agreed()
        self._steps, self._bad, self._values = [], [], []
        longest = 0
        for bad in flags:
            self._in_a_row = self._in_a_row + 1 if bad else 0
            longest = max(longest, self._in_a_row)
        found = tuple(step for step, bad in zip(steps, flags, strict=True) if bad)
        if not found:
            return None
        return Trouble(found, len(steps), longest, self._at(values[steps.index(found[0])]))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of steps that are still to be looked at. Every rank must call it; it waits."""
        return {"in_a_row": self._in_a_row, "pending": list(zip(self._steps, self._agreed(), strict=True))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`; which loss it was is not known any more."""
        self._in_a_row = int(state["in_a_row"])
        self._steps = [int(step) for step, _ in state["pending"]]
        device = self.world.device
        self._bad = [torch.tensor(float(bad), device=device) for _, bad in state["pending"]]
        self._values = [torch.empty(0, device=device) for _ in self._steps]

    def _agreed(self) -> list[bool]:
        """Which of the steps were bad, on any rank."""
        return (self.world.sum(torch.stack(self._bad)) > 0).tolist() if self._bad else []

    def _at(self, values: torch.Tensor) -> dict[int, dict[str, float]]:
        """By rank, the losses of a step that are not finite."""
        told = [part.tolist() for part in self.world.gather(values.cpu())]
        wrong = ({n: x for n, x in zip(self._names, part, strict=False) if not math.isfinite(x)} for part in told)
        return {rank: losses for rank, losses in enumerate(wrong) if losses}

"""Means of the losses between two log lines: added up on the device, read only when a line is due."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from mrigan.engine.distributed import World
from mrigan.errors import MriganError


class DivergedError(MriganError):
    """A loss is no longer a finite number."""


class Meter:
    """Adds up scalars that stay on the device; `read` is the only point at which the host waits for it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._names: list[str] = []
        self._sum: torch.Tensor | None = None
        self._count = 0

    def add(self, values: Mapping[str, torch.Tensor]) -> None:
        """Add one step's scalars; the names are the same in every step."""
        self._names = list(values)
        stacked = torch.stack([value.detach().float() for value in values.values()])
        self._sum = stacked if self._sum is None else self._sum + stacked
        self._count += 1

    def read(self) -> dict[str, float]:
        """Means since the last `reset`, over steps and ranks. Every rank must call it.

        Raises:
            DivergedError: one of them is NaN or infinite; on every rank alike.
        """
        if self._sum is None:
            return {}
        means = dict(zip(self._names, (self.world.mean(self._sum) / self._count).tolist(), strict=True))
        wrong = [f"{name} = {value}" for name, value in means.items() if not math.isfinite(value)]
        if wrong:
            raise DivergedError(
                f"training diverged: {', '.join(wrong)}",
                fix="the last checkpoint is sound; go on from it with a smaller optim.lr, or train.precision=fp32",
            )
        return means

    def reset(self) -> None:
        """Begin the next mean."""
        self._sum, self._count = None, 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a mean that spans a stop is whole. Every rank must call it; see `read`."""
        return {"means": self.read(), "count": self._count}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`."""
        self._names, self._count = list(state["means"]), int(state["count"])
        if self._count:
            means = torch.tensor(list(state["means"].values()), device=self.world.device)
            self._sum = means * self._count

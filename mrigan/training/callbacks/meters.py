"""Means of the losses between two lines of the log: summed on the device, read only when a line is due."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from mrigan.engine.distributed import World


class Meter:
    """Sums scalars on the device; only in `read` the host waits for the device.

    Values that are not finite are not counted: `Guard` reports them.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._names: list[str] = []
        self._sums: torch.Tensor | None = None  # (2, number of names): sums and counts of the finite values

    def add(self, values: Mapping[str, torch.Tensor]) -> None:
        """Add the scalars of one step; the names are the same in every step."""
        self._names = list(values)
        stacked = torch.stack([value.detach().float() for value in values.values()])
        finite = stacked.isfinite()
        sums = torch.stack([torch.where(finite, stacked, 0.0), finite.float()])
        self._sums = sums if self._sums is None else self._sums + sums

    def read(self) -> dict[str, float]:
        """Means since the last `reset` over steps and ranks; NaN if no value was finite. Every rank must call it."""
        return {name: total / count if count else math.nan for name, (total, count) in self._totals().items()}

    def reset(self) -> None:
        """Start the next mean."""
        self._sums = None

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint, so that a mean can span a stop. Every rank must call it; it waits."""
        return {"totals": self._totals()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`, on any number of ranks."""
        totals = state["totals"]
        self._names, self._sums = list(totals), None
        if totals:
            total = torch.tensor(list(totals.values()), device=self.world.device).T
            self._sums = total / self.world.size

    def _totals(self) -> dict[str, tuple[float, float]]:
        """Sum and count of each name, over steps and ranks."""
        if self._sums is None:
            return {}
        sums, counts = self.world.sum(self._sums).tolist()
        return {name: (x, n) for name, x, n in zip(self._names, sums, counts, strict=True)}

"""Finds losses that rise far above their recent values, in the logged means; it needs no device."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIN_LINES = 16  # before the first comparison
TO_SIGMA = 1.4826  # standard deviation / median absolute deviation of a normal distribution
MIN_SIGMA = 0.01  # of the median, so that a nearly constant loss does not spike by less


@dataclass(frozen=True)
class Spike:
    """A loss far above its recent median.

    Attributes:
        deviation: (value - median) / robust standard deviation.
    """

    name: str
    value: float
    median: float
    deviation: float

    def __str__(self) -> str:
        return (
            f"{self.name} = {self.value:.4g} is {self.deviation:.1f} deviations above its median of {self.median:.4g}"
        )


class SpikeMonitor:
    """Compares each logged loss with the median and the median absolute deviation of the values before it.

    A single outlier moves neither. A loss that stays high is normal again when it fills half of the window.

    Args:
        limit: robust standard deviations above the median.
        window: number of earlier values.
    """

    def __init__(self, limit: float, window: int) -> None:
        self.limit, self.window = limit, window
        self._before: dict[str, deque[float]] = {}
        self._high: set[str] = set()  # reported, and still high

    def check(self, values: Mapping[str, float]) -> list[Spike]:
        """The spikes that begin with the losses of one line."""
        begun = []
        for name, value in values.items():
            before = self._before.setdefault(name, deque(maxlen=self.window))
            if not math.isfinite(value):
                continue
            if len(before) >= MIN_LINES:
                median = statistics.median(before)
                mad = statistics.median(abs(x - median) for x in before)
                sigma = max(TO_SIGMA * mad, MIN_SIGMA * abs(median), math.ulp(1.0))
                deviation = (value - median) / sigma
                if deviation <= self.limit:
                    self._high.discard(name)
                elif name not in self._high:
                    self._high.add(name)
                    begun.append(Spike(name, value, median, deviation))
            before.append(value)
        return begun

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"before": {name: list(values) for name, values in self._before.items()}, "high": sorted(self._high)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`, with the present window."""
        self._before = {name: deque(values, self.window) for name, values in state["before"].items()}
        self._high = set(state["high"])

"""Losses that rise far above what they were, seen in the means that are logged; the host's work, nothing waits."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LEAST = 16  # lines before anything is judged
TO_SIGMA = 1.4826  # the median absolute deviation of a normal distribution, in its standard deviations
FLOOR = 0.01  # of the median: a loss that hardly moves is not said to spike when it moves by less


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
    """Compares each logged loss with the median and the median absolute deviation of those before it.

    Neither moves for a single outlier. A loss that stays high is the new normal when it fills half of the window.

    Args:
        limit: robust standard deviations above the median.
        window: logged values that are compared with.
    """

    def __init__(self, limit: float, window: int) -> None:
        self.limit, self.window = limit, window
        self._before: dict[str, deque[float]] = {}
        self._high: set[str] = set()  # said already, and not over yet

    def look(self, values: Mapping[str, float]) -> list[Spike]:
        """Judge one line's losses; a spike is given once, when it begins."""
        begun = []
        for name, value in values.items():
            before = self._before.setdefault(name, deque(maxlen=self.window))
            if not math.isfinite(value):
                continue
            if len(before) >= LEAST:
                median = statistics.median(before)
                mad = statistics.median(abs(x - median) for x in before)
                sigma = max(TO_SIGMA * mad, FLOOR * abs(median), math.ulp(1.0))
                deviation = (value - median) / sigma
                if deviation <= self.limit:
                    self._high.discard(name)
                elif name not in self._high:
                    self._high.add(name)
                    begun.append(Spike(name, value, median, deviation))
            before.append(value)
        return begun

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"before": {name: list(values) for name, values in self._before.items()}, "high": sorted(self._high)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, with this window."""
        self._before = {name: deque(values, self.window) for name, values in state["before"].items()}
        self._high = set(state["high"])

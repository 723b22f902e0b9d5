"""Where numbers and pictures of a run go: `metrics.jsonl`, the log, and MLflow. Only rank 0 writes."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

from mrigan.files import atomic_write, failpoint
from mrigan.tracking import Run

log = logging.getLogger(__name__)


class Journal:
    """A line of JSON a logged step, flushed at once, so that it can be followed while training goes on.

    Args:
        path: `metrics.jsonl`; None on ranks that write nothing.
        tracking: the job's MLflow run, or one that does nothing.
    """

    def __init__(self, path: Path | None, tracking: Run) -> None:
        self.path, self.tracking = path, tracking

    def rewind(self, step: int) -> None:
        """Drop lines after `step`: they are of steps that were lost with a killed process, and will come again."""
        if self.path is None or not self.path.is_file():
            return
        kept = [line for line in self.path.read_bytes().splitlines(keepends=True) if _is_until(line, step)]
        with atomic_write(self.path) as file:
            file.writelines(kept)

    def log(self, step: int, metrics: Mapping[str, float | None], *, line: str = "", say: bool = True) -> None:
        """Record numbers of one step; None = not defined there, which is also what a NaN becomes: JSON has none.

        Args:
            line: what the log says of them; "" = their names and values.
            say: False = the log says nothing.
        """
        if self.path is None or not metrics:
            return
        metrics = {name: x if x is None or math.isfinite(x) else None for name, x in metrics.items()}
        row = json.dumps({"step": step, **metrics}) + "\n"
        failpoint("metrics.line", str(step))
        with open(self.path, "a") as file:
            file.write(row)
        failpoint("metrics.written", str(step))
        known = {name: value for name, value in metrics.items() if value is not None}
        self.tracking.log_metrics(known, step)
        if say:
            log.info(line or f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in known.items()))

    def picture(self, path: Path) -> None:
        """Record a picture file."""
        if self.path is not None:
            self.tracking.log_artifact(path, "pictures")


def _is_until(line: bytes, step: int) -> bool:
    try:
        return int(json.loads(line)["step"]) <= step
    except (ValueError, KeyError, TypeError):  # cut by a kill
        return False

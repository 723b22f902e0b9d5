"""The report of each unit: a log line for a person, and a small file `log/<unit>.json` for `mrigan shards watch`.

Each unit has its own file, written whole: appends to a shared file get garbled on network file systems, and are not
possible in object stores.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from dataclasses import asdict, dataclass, field

from mrigan.catalog import LABELS
from mrigan.files import write_json
from mrigan.foreign_files import parse_json
from mrigan.shardset.layout import Layout

log = logging.getLogger(__name__)

BUILT, FAILED, KEPT = "built", "failed", "kept"


def node_name() -> str:
    """The name of this machine: Slurm's, or its host name."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


@dataclass(frozen=True)
class UnitReport:
    """The result for a unit.

    Attributes:
        status: BUILT; FAILED (given up for `reason`); or KEPT (another builder finished it meanwhile).
        node: the machine that built it. ended: seconds since 1970, by that machine's clock.
        counts: rows by label (stored) or status. seconds: CPU-seconds by stage. wall: seconds.
    """

    unit: str
    status: str
    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    wall: float = 0.0
    reason: str = ""
    node: str = field(default_factory=node_name)
    ended: float = field(default_factory=time.time)

    @property
    def stored(self) -> int:
        return sum(self.counts.get(label, 0) for label in LABELS)

    def line(self) -> str:
        """For a person."""
        if self.status != BUILT:
            return f"unit {self.unit}: {self.status}{': ' if self.reason else ''}{self.reason}"
        words = {"real": "reals", "fake": "fakes", "dropped": "dropped", "failed": "failed"}
        counts = ", ".join(f"{self.counts.get(key, 0)} {word}" for key, word in words.items())
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in self.seconds.items())
        return f"unit {self.unit}: {counts}; {self.wall:.1f} s on {self.node} (CPU: {stages})"


def write_report(layout: Layout, report: UnitReport) -> None:
    """Write a report into the shard folder; it replaces an earlier one of the same unit."""
    write_json(layout.unit_log(report.unit), asdict(report))


def read_report(text: str | bytes) -> UnitReport | None:
    """The report in a `log/<unit>.json`, None if it is damaged."""
    try:
        report = UnitReport(**parse_json(text))
        texts = report.unit, report.status, report.reason, report.node
        numbers = report.wall, report.ended, *report.counts.values(), *report.seconds.values()
        if all(isinstance(value, str) for value in texts) and all(map(math.isfinite, numbers)):
            return report
    except (ValueError, TypeError, AttributeError, OverflowError):
        pass
    log.debug("a damaged report: %.80r", text)
    return None

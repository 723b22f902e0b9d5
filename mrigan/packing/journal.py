"""What became of each unit: a line for a person, and one small file `log/<unit>.json` for those who watch.

A file a unit, written whole: builders on many machines share no file that they append to, which network file systems
garble and object stores cannot do.
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
    """What this machine is called: by Slurm, else by itself."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


@dataclass(frozen=True)
class UnitReport:
    """What became of a unit.

    Attributes:
        status: built; failed (given up, for `reason`); or kept (another builder had finished it meanwhile).
        node: the machine that made it. ended: seconds since 1970, by that machine's clock.
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
    """Keep a report in the shard folder; a later one of the same unit replaces it."""
    write_json(layout.unit_log(report.unit), asdict(report))


def read_report(text: str | bytes) -> UnitReport | None:
    """What a `log/<unit>.json` says, None where it is damaged."""
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

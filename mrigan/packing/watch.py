"""`mrigan shards watch`: the progress of a build over all workers and nodes, from the files in the shard folder.

The markers show which units exist; `log/` shows who built them and when, or why a unit was given up. The builders are
not asked, so it works from any machine that sees the folder or the URL.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrigan.errors import ShardError
from mrigan.packing.journal import BUILT, FAILED, UnitReport, read_report
from mrigan.shardset.layout import NAMES
from mrigan.shardset.plan_file import parse_plan
from mrigan.storage import Folder, Storage, folder_of, is_url

WINDOW = 600.0  # seconds over which rates are measured


@dataclass(frozen=True)
class Node:
    """One machine: its units and faces, its recent faces a second, and when its last unit ended (s since 1970)."""

    name: str
    units: int
    faces: int
    rate: float
    last: float


@dataclass(frozen=True)
class View:
    """The progress of a build.

    Attributes:
        units, clips: of the plan. done, done_clips: of them, built. faces: stored.
        finished: the manifest exists.
        rate: recent faces a second. left: seconds to go at the recent pace, None if nothing was built recently.
        failed: unit that was given up → reason.
        at: time of this view, s since 1970.
    """

    units: int
    clips: int
    done: int
    done_clips: int
    faces: int
    finished: bool
    rate: float
    left: float | None
    nodes: list[Node]
    failed: dict[str, str]
    at: float

    def line(self) -> str:
        """Everything in one line, for a log."""
        words = [f"{self.done}/{self.units} units", f"{self.done_clips}/{self.clips} clips", f"{self.faces} faces",
                 f"{self.rate:.1f} faces/s", f"{sum(node.rate > 0 for node in self.nodes)} nodes at work",
                 f"{len(self.failed)} failed"]  # fmt: skip
        if self.finished:
            return ", ".join([*words[:3], words[-1], "finished"])
        return ", ".join([*words, "" if self.left is None else f"{duration(self.left)} left"]).rstrip(", ")

    def lines(self) -> list[str]:
        """For a person."""
        lines = [self.line()]
        for node in self.nodes:
            ago = duration(max(self.at - node.last, 0))
            lines.append(
                f"    {node.name}: {node.units} units, {node.faces} faces, {node.rate:.1f} faces/s, last {ago} ago"
            )
        lines += [f"    failed {unit}: {reason}" for unit, reason in self.failed.items()]
        if self.done == self.units and not self.finished:
            lines.append("all units are built, the manifest is missing: mrigan shards build writes it")
        return lines


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 07 s`, `9 s`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@dataclass
class Watch:
    """Looks at a set repeatedly, and reads only what is new.

    Args:
        out: folder or URL.

    Raises:
        ShardError: there is no plan.
    """

    out: str | Path
    clips: dict[str, int] = field(init=False)  # of each unit

    def __post_init__(self) -> None:
        self._files = Storage(str(self.out)) if is_url(self.out) else Folder(folder_of(self.out))
        text = self._files.read([NAMES.plan.as_posix()])
        if not text:
            raise ShardError("no shard plan that can be read", where=self.out, fix="mrigan shards plan CATALOG -o DIR")
        try:
            self.clips = {unit["name"]: int(unit["clips"]) for unit in parse_plan(text.popitem()[1])["units"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ShardError(f"the plan cannot be read: {error}", where=self.out, fix="plan it again") from None
        self._stamps: dict[str, Any] = {}
        self._reports: dict[str, UnitReport] = {}

    def look(self, now: float | None = None) -> View:
        """The progress now."""
        now = time.time() if now is None else now
        self._read_reports()
        markers = self._files.stamps(NAMES.units.as_posix())
        done = {unit for unit in self.clips if NAMES.unit_marker(unit).as_posix() in markers}
        made = [report for unit, report in self._reports.items() if unit in done and report.status == BUILT]
        recent = [report for report in made if report.ended > now - WINDOW]
        span = max(now - min((report.ended - report.wall for report in recent), default=now), 1e-3)
        pace = sum(self.clips[report.unit] for report in recent) / span
        clips, done_clips = sum(self.clips.values()), sum(self.clips[unit] for unit in done)
        finished = NAMES.manifest.as_posix() in self._files.stamps("")
        return View(
            units=len(self.clips), clips=clips, done=len(done), done_clips=done_clips,
            faces=sum(report.stored for report in made), finished=finished and len(done) == len(self.clips),
            rate=sum(report.stored for report in recent) / span, left=(clips - done_clips) / pace if pace else None,
            nodes=[_node(name, made, recent, span) for name in sorted({report.node for report in made})],
            failed={unit: report.reason for unit, report in sorted(self._reports.items())
                    if report.status == FAILED and unit not in done}, at=now,
        )  # fmt: skip

    def _read_reports(self) -> None:
        stamps = self._files.stamps(NAMES.log.as_posix())
        new = [name for name, stamp in stamps.items() if self._stamps.get(name) != stamp]
        for name, text in self._files.read(new).items():
            report = read_report(text)
            if report is not None and report.unit in self.clips:
                self._reports[report.unit] = report
                self._stamps[name] = stamps[name]


def _node(name: str, made: list[UnitReport], recent: list[UnitReport], span: float) -> Node:
    own = [report for report in made if report.node == name]
    faces = sum(report.stored for report in own)
    rate = sum(report.stored for report in recent if report.node == name) / span
    return Node(name, len(own), faces, rate, max(report.ended for report in own))

"""The summary of a build for a person: faces stored, dropped and failed, and the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mrigan.packing.journal import UnitReport
from mrigan.shardset.matching import columns_of, matched
from mrigan.shardset.plan_file import Plan
from mrigan.shardset.rows import DROPPED, FAILED, stored_of, stream_rows
from mrigan.text import first_of

MAX_LISTED = 20  # failed clips


@dataclass(frozen=True)
class Summary:
    """A built set.

    Attributes:
        families, clips, units: in the plan.
        samples: stored, by (split, label).
        dropped: rows by reason. failed: (clip id, reason) of clips that could not be read to their end.
        built: samples stored by this build. seconds: CPU-seconds of this build by stage. wall: seconds of this build.
        unmatched: stored samples that readers leave out because of `pack.match`.
    """

    families: int
    clips: int
    units: int
    samples: Counter[tuple[str, str]]
    dropped: Counter[str]
    failed: list[tuple[str, str]]
    built: int
    seconds: Counter[str]
    wall: float
    unmatched: int = 0

    @property
    def stored(self) -> int:
        return self.samples.total()

    @property
    def failures(self) -> Counter[str]:
        """Clips by reason, without details."""
        return Counter(reason.split(":")[0] for _, reason in self.failed)

    def lines(self) -> list[str]:
        """For a person."""
        stored = ", ".join(f"{n} {label} in {split}" for (split, label), n in self.samples.items())
        lines = [
            f"{self.families} families, {self.clips} clips, {self.units} units",
            f"{self.stored} faces stored: {stored or 'none'}",
            "dropped: " + (", ".join(f"{n} {reason}" for reason, n in self.dropped.most_common()) or "none"),
        ]
        if self.unmatched:
            lines.append(f"{self.unmatched} of the stored faces are unmatched: readers of the set leave them out")
        if self.failed:
            lines.append(f"{len(self.failed)} clips failed:")
            failed = first_of([f"{clip}: {reason}" for clip, reason in self.failed], MAX_LISTED)
            lines += [f"    {line}" for line in failed]
        if self.built:
            stages = ", ".join(f"{stage} {1000 * s / self.built:.1f}" for stage, s in self.seconds.most_common())
            lines.append(
                f"{self.built} faces now, {self.built / self.wall:.1f} faces/s, "
                f"{1000 * self.seconds.total() / self.built:.1f} CPU-ms a face ({stages})"
            )
        return lines


def summarise(plan: Plan, reports: Sequence[UnitReport], wall: float) -> Summary:
    """Counts from the table of rows, times from the reports of the units that this build made."""
    samples: Counter[tuple[str, str]] = Counter()
    dropped: Counter[str] = Counter()
    failed: list[tuple[str, str]] = []
    for rows in stream_rows(plan.layout.samples, ["clip", "split", "label", "status", "reason"]):
        stored = stored_of(rows).group_by(["split", "label"], use_threads=False).aggregate([([], "count_all")])
        for row in stored.to_pylist():
            samples[row["split"], row["label"]] += row["count_all"]
        for row in pc.value_counts(rows["reason"].filter(pc.equal(rows["status"], DROPPED))).to_pylist():
            dropped[row["values"]] += row["counts"]
        lost = rows.filter(pc.equal(rows["status"], FAILED))
        failed += zip(lost["clip"].to_pylist(), lost["reason"].to_pylist(), strict=True)
    unmatched, pack = 0, plan.config.pack
    if pack.match:
        tables = stream_rows(plan.layout.samples, [*columns_of(pack.match), "status"])
        whole = pa.concat_tables(stored_of(table) for table in tables)
        unmatched = int((~matched(whole, pack.match, pack.seed)).sum())
    seconds: Counter[str] = Counter()
    for report in reports:
        seconds.update(report.seconds)
    return Summary(
        families=sum(len(unit.families) for unit in plan.units),
        clips=sum(len(family.own) for unit in plan.units for family in unit.families),
        units=len(plan.units), samples=samples, dropped=dropped, failed=failed,
        built=sum(report.stored for report in reports), seconds=seconds, wall=wall, unmatched=unmatched,
    )  # fmt: skip

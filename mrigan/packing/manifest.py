"""The end of a build: all rows in one table, the totals, and what a person wants to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mrigan.catalog import LABELS
from mrigan.checked_json import write_checked_json
from mrigan.errors import ShardError
from mrigan.files import hash_json, sha256_file
from mrigan.packing.layout import CHECKED, Layout, parse_json
from mrigan.packing.marker import Marker, check_rows
from mrigan.packing.matching import columns_of, matched
from mrigan.packing.rows import merge_rows, stream_rows
from mrigan.regular import read_regular, reason

if TYPE_CHECKING:
    from mrigan.packing.plan import Plan
    from mrigan.packing.unit import UnitReport


@dataclass(frozen=True)
class Summary:
    """A built set.

    Attributes:
        families, clips, units: in the plan.
        samples: stored, by (split, label).
        dropped: rows by reason. failed: (clip id, reason) of the clips that could not be read, or not to their end.
        built: samples stored by this build, others were there. seconds: CPU-seconds of this build by stage.
        wall: seconds that this build took.
        unmatched: of the stored samples, those that `pack.match` leaves out when they are read.
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
        """Clips by reason, without its details."""
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
            lines.append(f"{self.unmatched} of the faces stored are unmatched: who reads the set leaves them out")
        if self.failed:
            lines.append(f"{len(self.failed)} clips failed:")
            lines += [f"    {clip}: {reason}" for clip, reason in self.failed[:20]]
            lines += [f"    … and {len(self.failed) - 20} more, see samples.parquet"] if len(self.failed) > 20 else []
        if self.built:
            stages = ", ".join(f"{stage} {1000 * s / self.built:.1f}" for stage, s in self.seconds.most_common())
            lines.append(
                f"{self.built} faces now, {self.built / self.wall:.1f} faces/s, "
                f"{1000 * self.seconds.total() / self.built:.1f} CPU-ms a face ({stages})"
            )
        return lines


def write_manifest(plan: Plan) -> None:
    """Merge the rows of all units and write the totals. Needs every unit done; depends on nothing but them.

    What is there already and the same is not written again.
    """
    layout = plan.layout
    markers = [check_rows(plan, unit.name) for unit in plan.units]
    merge_rows([layout.unit_rows(unit.name) for unit in plan.units], layout.samples)
    manifest = manifest_of(plan, markers)
    try:
        if read_manifest(layout, plan.format) == manifest:
            return
    except ShardError:
        pass  # there is none, or a damaged one
    write_checked_json(layout.manifest, manifest)


def manifest_of(plan: Plan, markers: Sequence[Marker]) -> dict[str, Any]:
    """The totals of a set, from the markers of all its units and the table of all rows."""
    counts: Counter[str] = Counter()
    splits: dict[str, Counter[str]] = {}
    for marker in markers:
        counts.update(marker.counts)
        stored = {label: marker.counts.get(label, 0) for label in LABELS}
        splits.setdefault(marker.unit.rpartition("-")[0], Counter()).update(stored)
    pack = plan.config.pack
    return {
        "format": plan.format, "plan_hash": plan.hash, "kind": pack.kind, "size": plan.config.faces.size,
        "mri": {"format": pack.mri_format, "metric": plan.config.mri.metric} if pack.kind == "pairs" else None,
        **({"match": pack.match, "seed": pack.seed} if pack.match else {}),
        "rows": sum(marker.rows for marker in markers), "counts": dict(sorted(counts.items())),
        "splits": {split: dict(sorted(numbers.items())) for split, numbers in splits.items()},
        "samples_sha256": sha256_file(plan.layout.samples),
        "shards": [{key: shard[key] for key in ("shard", "samples", "bytes", "sha256")}
                   for marker in markers for shard in marker.shards],
        **({"units_sha256": hash_json([asdict(marker) for marker in markers])} if plan.format >= CHECKED else {}),
    }  # fmt: skip


def read_manifest(layout: Layout, format: int = 0) -> dict[str, Any]:
    """The totals of a finished set.

    Args:
        format: of its plan, 0 = as the manifest itself says.

    Raises:
        ShardError: the set is not finished, or the file is damaged.
    """
    try:
        return parse_json(read_regular(layout.manifest), format)
    except FileNotFoundError:
        raise ShardError(
            "the shard set is not finished: manifest.json is missing",
            where=layout.root,
            fix=f"mrigan shards build {layout.root}",
        ) from None
    except (OSError, ValueError) as error:
        raise ShardError(
            f"manifest.json is damaged: {reason(error)}",
            where=layout.manifest,
            fix=f"mrigan shards repair {layout.root} --only-failed",
        ) from None


def check_samples(layout: Layout, format: int = 0) -> dict[str, Any]:
    """`read_manifest`, where samples.parquet is the table that it describes.

    Raises:
        ShardError: it is not, or one of them is damaged or missing.
    """
    manifest, fix = read_manifest(layout, format), f"mrigan shards verify {layout.root}, then repair"
    if not layout.samples.is_file():
        raise ShardError("samples.parquet is missing", where=layout.samples, fix=fix)
    if sha256_file(layout.samples) != manifest.get("samples_sha256"):
        raise ShardError("samples.parquet is not the one that manifest.json describes", where=layout.samples, fix=fix)
    return manifest


def summarise(plan: Plan, reports: Sequence[UnitReport], wall: float) -> Summary:
    """Counts from the table of rows, times from the units that this build made."""
    samples: Counter[tuple[str, str]] = Counter()
    dropped: Counter[str] = Counter()
    failed: list[tuple[str, str]] = []
    for rows in stream_rows(plan.layout.samples, ["clip", "split", "label", "status", "reason"]):
        stored = (
            rows.filter(pc.equal(rows["status"], "ok"))
            .group_by(["split", "label"], use_threads=False)
            .aggregate([([], "count_all")])
        )
        for row in stored.to_pylist():
            samples[row["split"], row["label"]] += row["count_all"]
        for row in pc.value_counts(rows["reason"].filter(pc.equal(rows["status"], "dropped"))).to_pylist():
            dropped[row["values"]] += row["counts"]
        lost = rows.filter(pc.equal(rows["status"], "failed"))
        failed += zip(lost["clip"].to_pylist(), lost["reason"].to_pylist(), strict=True)
    unmatched, pack = 0, plan.config.pack
    if pack.match:
        tables = stream_rows(plan.layout.samples, [*columns_of(pack.match), "status"])
        whole = pa.concat_tables(table.filter(pc.equal(table["status"], "ok")) for table in tables)
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

"""The manifest of a finished set: its totals, and the hashes that bind the table of all rows and all markers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mrigan.catalog import LABELS
from mrigan.checked_json import write_checked_json
from mrigan.errors import ShardError
from mrigan.files import hash_json, sha256_file
from mrigan.regular import read_regular, reason
from mrigan.shardset.layout import CHECKED, Layout, parse_json
from mrigan.shardset.marker import Marker, check_rows
from mrigan.shardset.plan_file import Plan
from mrigan.shardset.rows import merge_rows


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

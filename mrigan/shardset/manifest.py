"""The manifest of a finished set: its totals, and the hashes that bind the table of all rows and all markers."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mrigan.catalog import LABELS
from mrigan.checked_json import write_checked_json
from mrigan.errors import ShardError
from mrigan.files import hash_json, sha256_file
from mrigan.regular import read_regular, reason
from mrigan.shardset.layout import CHECKED, SHARD_NAME, Layout, parse_json
from mrigan.shardset.marker import SHA256, Marker, check_rows
from mrigan.shardset.plan_file import Plan, read_plan_json
from mrigan.shardset.rows import merge_rows


@dataclass(frozen=True)
class ShardEntry:
    """What the manifest says of one tar."""

    shard: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What readers of a finished set need of its manifest.

    Attributes:
        format: of the set, 0 if the file does not say.
        samples_sha256: of samples.parquet.
        shards: by name. match, seed: `pack.match` and `pack.seed` of the plan; see `mrigan.shardset.matching`.
    """

    format: int
    plan_hash: str
    kind: str
    samples_sha256: str
    shards: dict[str, ShardEntry]
    match: tuple[str, ...] = ()
    seed: int = 0

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Manifest:
        """The parsed content of a manifest, checked.

        Raises:
            ValueError: a value is missing or not of its kind; the message names it.
        """
        try:
            if not SHA256.fullmatch(content["samples_sha256"]):
                raise ValueError(f"samples_sha256 is {content['samples_sha256']!r}")
            shards = {}
            for entry in content["shards"]:
                name = entry["shard"]
                if not re.fullmatch(SHARD_NAME, name):  # it becomes a path
                    raise ValueError(f"a shard is called {name!r}")
                if type(entry["bytes"]) is not int or not SHA256.fullmatch(entry["sha256"]):
                    raise ValueError(f"{name} has no size or no SHA-256")
                shards[name] = ShardEntry(name, entry["samples"], entry["bytes"], entry["sha256"])
            match, seed = tuple(content.get("match") or ()), content.get("seed", 0)
            return cls(content.get("format", 0), str(content["plan_hash"]), str(content["kind"]),
                       content["samples_sha256"], shards, match, seed)  # fmt: skip
        except (KeyError, TypeError) as error:
            raise ValueError(f"{error!r}") from None


def write_manifest(plan: Plan) -> None:
    """Merge the rows of all units and write the totals. Needs every unit; the result depends on nothing else.

    Files that exist with the same content are not written again.
    """
    layout = plan.layout
    markers = [check_rows(plan, unit.name) for unit in plan.units]
    merge_rows([layout.unit_rows(unit.name) for unit in plan.units], layout.samples)
    manifest = manifest_of(plan, markers)
    try:
        if read_manifest(layout, plan.format) == manifest:
            return
    except ShardError:
        pass  # missing or damaged
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
        raise damaged_manifest(layout, reason(error)) from None


def check_samples(layout: Layout) -> Manifest:
    """The manifest of a finished set, if plan.json (where it exists) and samples.parquet are the ones it describes.

    Raises:
        ShardError: they are not, or a file is damaged or missing.
    """
    content, fix = read_manifest(layout), f"mrigan shards verify {layout.root}, then repair"
    if os.path.lexists(layout.plan):
        plan = read_plan_json(layout)
        if any(plan[key] != content.get(key) for key in ("plan_hash", "format") if key in plan):
            raise ShardError("plan.json and manifest.json are of two sets", where=layout.root, fix=fix)
    try:
        manifest = Manifest.of(content)
    except ValueError as error:
        raise damaged_manifest(layout, str(error)) from None
    if not layout.samples.is_file():
        raise ShardError("samples.parquet is missing", where=layout.samples, fix=fix)
    if sha256_file(layout.samples) != manifest.samples_sha256:
        raise ShardError("samples.parquet is not the one that manifest.json describes", where=layout.samples, fix=fix)
    return manifest


def damaged_manifest(layout: Layout, why: str) -> ShardError:
    """The error for a manifest that cannot be used."""
    fix = f"mrigan shards repair {layout.root} --only-failed"
    return ShardError(f"manifest.json is damaged: {why}", where=layout.manifest, fix=fix)

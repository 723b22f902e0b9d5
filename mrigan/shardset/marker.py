"""A unit's done marker: what the unit was made of, and the files that it wrote."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mrigan.catalog import LABELS
from mrigan.checked_json import write_checked_json
from mrigan.errors import ShardError
from mrigan.files import sha256_file
from mrigan.regular import read_regular, reason
from mrigan.shardset.layout import CHECKED, parse_json, shard_name
from mrigan.shardset.plan_file import Plan
from mrigan.shardset.rows import DROPPED, FAILED

SHA256 = re.compile("[0-9a-f]{64}")
FINGERPRINT = re.compile("[0-9]{1,18}(-[0-9a-f]{64}){1,2}")
COUNTED = (*LABELS, DROPPED, FAILED)


@dataclass(frozen=True)
class Marker:
    """The content of a unit's marker.

    Attributes:
        rows: of its table. counts: of the rows by label (stored) or status.
        rows_bytes, rows_sha256: of the table's file.
        shards: the contents of their sidecars, in the order of labels and parts.
        inputs: clip id → fingerprint of the clip that the samples were made of, None if it could not be read.
        libraries: of the plan; None in format 3.
    """

    unit: str
    plan_hash: str
    rows: int
    counts: dict[str, int]
    rows_bytes: int
    rows_sha256: str
    shards: list[dict[str, Any]]
    inputs: dict[str, str | None]
    libraries: dict[str, str] | None = None

    def write(self, plan: Plan) -> None:
        """Write it into the plan's folder, atomically."""
        write_checked_json(plan.layout.unit_marker(self.unit), asdict(self))


def read_marker(text: bytes, plan: Plan, unit: str) -> Marker:
    """The marker of one of the plan's units, each of its values checked.

    Raises:
        ValueError: it is damaged, of another plan or of another unit; the message says how.
    """
    try:
        facts = parse_json(text, plan.format)
    except ValueError as error:
        raise ValueError(f"is damaged: {error}") from None
    if facts.get("plan_hash") != plan.hash:
        raise ValueError("belongs to another plan")
    if facts.get("unit") != unit:
        raise ValueError(f"is of the unit {facts.get('unit')!r}")
    try:
        marker = Marker(**facts)
    except TypeError as error:
        raise ValueError(f"is damaged: {str(error).partition('() ')[2]}") from None
    _check_counts(marker)
    _check_shards(marker, plan)
    if not isinstance(marker.inputs, dict) or not all(map(_is_content, marker.inputs.values())):
        raise ValueError("is damaged: inputs")
    if marker.libraries != plan.libraries and (plan.format >= CHECKED or marker.libraries is not None):
        raise ValueError("was made with other libraries than the plan's")
    return marker


def check_rows(plan: Plan, unit: str) -> Marker:
    """The marker of a unit, if its table is the one that the marker was written with.

    Raises:
        ShardError: it is not, or one of them is damaged or missing.
    """
    layout, fix = plan.layout, f"mrigan shards repair {plan.folder} --only-failed"
    path = layout.unit_marker(unit)
    try:
        marker = read_marker(read_regular(path), plan, unit)
        path = layout.unit_rows(unit)
        if sha256_file(path) != marker.rows_sha256:
            raise ValueError("is not the table that its unit was finished with")
    except OSError as error:
        raise ShardError(f"{path.name} cannot be read: {reason(error)}", where=path, fix=fix) from None
    except ValueError as error:
        raise ShardError(f"{path.name} {error}", where=path, fix=fix) from None
    return marker


def made_of(plan: Plan) -> dict[str, str | None]:
    """Clip id → fingerprint, from the markers that exist and are whole."""
    contents: dict[str, str | None] = {}
    for unit in plan.units:
        try:
            contents |= read_marker(read_regular(plan.layout.unit_marker(unit.name)), plan, unit.name).inputs
        except (OSError, ValueError):
            continue  # not built, or to be rebuilt
    return contents


def _check_counts(marker: Marker) -> None:
    counts = marker.counts
    if not isinstance(counts, dict) or not set(counts) <= set(COUNTED) or not all(map(_is_count, counts.values())):
        raise ValueError("is damaged: counts")
    if not _is_count(marker.rows) or marker.rows != sum(counts.values()):
        raise ValueError("is damaged: its rows are not the sum of its counts")
    if not _is_count(marker.rows_bytes) or not _is_sha256(marker.rows_sha256):
        raise ValueError("is damaged: size or SHA-256 of its table")


def _check_shards(marker: Marker, plan: Plan) -> None:
    split, _, number = marker.unit.rpartition("-")
    about = {"plan_hash": plan.hash, "unit": marker.unit, "split": split, "kind": plan.config.pack.kind}
    stored: Counter[str] = Counter()
    parts: Counter[str] = Counter()
    if not isinstance(marker.shards, list):
        raise ValueError("is damaged: shards")
    for shard in marker.shards:
        if not isinstance(shard, Mapping) or shard.get("label") not in LABELS:
            raise ValueError("is damaged: a shard without a label")
        label = shard["label"]
        about |= {"label": label, "shard": shard_name(split, label, int(number), parts[label])}
        sized = all(_is_count(shard.get(key)) and shard[key] for key in ("samples", "bytes"))
        if not sized or not _is_sha256(shard.get("sha256")) or shard != {**shard, **about} or len(shard) != 9:
            raise ValueError(f"is damaged: the entry of {about['shard']}")
        stored[label] += shard["samples"]
        parts[label] += 1
    if any(stored[label] != marker.counts.get(label, 0) for label in LABELS):
        raise ValueError("is damaged: the samples of its shards do not add up to its counts")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and SHA256.fullmatch(value) is not None


def _is_content(value: object) -> bool:
    return value is None or (isinstance(value, str) and FINGERPRINT.fullmatch(value) is not None)

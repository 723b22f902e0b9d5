"""`mrigan shards verify`: is every sample there that the build stored, byte for byte, and is it a picture?

The size and SHA-256 of a shard say that something is wrong; headers and the CRC-32 of each sample then say where.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mrigan.errors import ShardError
from mrigan.files import sha256_file
from mrigan.packing.layout import Layout
from mrigan.packing.manifest import read_manifest
from mrigan.packing.pictures import decode
from mrigan.packing.plan import Plan, load_plan
from mrigan.packing.rows import read_rows
from mrigan.packing.shard import BLOCK, Placed, index_text, member_header, padding
from mrigan.progress import bar

SAMPLED = 32  # samples a shard that are looked at without `full`
MOST = 20  # damages listed a shard


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong.

    Attributes:
        file: name in the shard folder.
        what: what was found.
        offset: byte in the file where it was found, None where it concerns the whole file.
    """

    file: str
    what: str
    offset: int | None = None

    def __str__(self) -> str:
        return f"{self.file}{'' if self.offset is None else f' at byte {self.offset}'}: {self.what}"


def verify_shards(out: str | Path, full: bool = True, workers: int = 0) -> list[Damage]:
    """Check a shard folder against its manifest; empty = all is well.

    Args:
        full: hash every shard, check and decode every sample; else sizes, indices and `SAMPLED` samples a shard.
        workers: threads (hashing and decoding leave the interpreter's lock), 0 = one a CPU core.

    Raises:
        ShardError: there is no plan, so nothing to check against.
    """
    plan = load_plan(out)
    layout = plan.layout
    missing = [Damage(f"units/{unit.name}.json", "the unit is not built") for unit in plan.units
               if not layout.unit_marker(unit.name).is_file()]  # fmt: skip
    try:
        manifest = read_manifest(layout)
        if manifest["plan_hash"] != plan.hash:
            return [*missing, Damage("manifest.json", "belongs to another plan")]
        if sha256_file(layout.samples) != manifest["samples_sha256"]:
            return [*missing, Damage("samples.parquet", "is not the table that the manifest was written with")]
        rows = read_rows(layout.samples)
        shards = {shard["shard"]: shard for shard in manifest["shards"]}
    except (ShardError, OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        what = error.what if isinstance(error, ShardError) else f"cannot be read: {error}"
        return [*missing, Damage("manifest.json", what)]
    found = [*missing, *_strangers(layout, plan, set(shards)), *_sides(rows)]
    stored = rows.filter(pc.equal(rows["status"], "ok"))
    jobs = [(plan, facts, _samples(stored, name), full) for name, facts in shards.items()]
    with bar("verify", len(jobs), unit="shards") as advance, ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for damages in pool.map(lambda job: _check_shard(*job), jobs):
            found += damages
            advance()
    return found


def _strangers(layout: Layout, plan: Plan, known: set[str]) -> Iterator[Damage]:
    """Shards that are not of this set."""
    for path in sorted(layout.root.glob("*.tar")):
        if path.name not in known:
            beside = _json(path.with_suffix(".json"))
            other = beside is not None and beside.get("plan_hash") != plan.hash
            yield Damage(path.name, "is a shard of another plan" if other else "is not in the manifest")


def _sides(rows: pa.Table) -> Iterator[Damage]:
    """No family in two splits, no key twice."""
    sides = rows.select(["family", "split"]).group_by("family").aggregate([("split", "count_distinct")])
    for family in sides.filter(pc.greater(sides["split_count_distinct"], 1))["family"].to_pylist():
        yield Damage("samples.parquet", f"family {family} is in two splits")
    keys = rows.filter(pc.equal(rows["status"], "ok")).group_by("key").aggregate([("clip", "count")])
    for key in keys.filter(pc.greater(keys["clip_count"], 1))["key"].to_pylist():
        yield Damage("samples.parquet", f"key {key} is there twice")


def _samples(stored: pa.Table, shard: str) -> list[dict[str, Any]]:
    """The rows of a shard in the order of the tar."""
    return stored.filter(pc.equal(stored["shard"], shard)).sort_by("face_offset").to_pylist()


def _check_shard(plan: Plan, facts: dict[str, Any], rows: list[dict[str, Any]], full: bool) -> list[Damage]:
    layout = plan.layout
    name, path = facts["shard"], layout.shard(facts["shard"])
    placed = [_placed(row, plan.config.pack.mri_format) for row in rows]
    found: list[Damage] = []
    beside = _json(layout.sidecar(name))
    if beside is None:
        found.append(Damage(layout.sidecar(name).name, "is missing or no JSON"))
    elif beside.get("plan_hash") != plan.hash:
        found.append(Damage(layout.sidecar(name).name, "belongs to another plan"))
    elif any(beside.get(key) != facts[key] for key in ("samples", "bytes", "sha256")):
        found.append(Damage(layout.sidecar(name).name, "says other counts than the manifest"))
    if not layout.index(name).is_file():
        found.append(Damage(layout.index(name).name, "is missing"))
    elif layout.index(name).read_text(errors="replace") != index_text(placed):
        found.append(Damage(layout.index(name).name, "does not describe its shard"))
    if not path.is_file():
        return [*found, Damage(name, f"is missing, and with it {facts['samples']} samples")]
    if len(rows) != facts["samples"]:
        found.append(Damage("samples.parquet", f"has {len(rows)} samples of {name}, {facts['samples']} were written"))
    size = path.stat().st_size
    if size != facts["bytes"]:
        found.append(Damage(name, f"has {size} of {facts['bytes']} bytes", min(size, facts["bytes"])))
    if not size:
        return found
    looked = list(zip(rows, placed, strict=True))
    if not full and len(looked) > SAMPLED:
        looked = random.Random(name).sample(looked, SAMPLED)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for row, sample in looked:
            found += _check_sample(name, data, row, sample, plan.config.faces.size)
            if len(found) >= MOST:
                return [*found, Damage(name, "further damages are not listed")]
    if full and not found and sha256_file(path) != facts["sha256"]:
        _, offset, length = placed[-1].members[-1]
        end = offset + length + len(padding(length))
        found.append(Damage(name, "its SHA-256 is another: the end of the archive changed", end))
    return found


def _check_sample(shard: str, data: mmap.mmap, row: dict[str, Any], sample: Placed, side: int) -> Iterator[Damage]:
    """Headers, data and padding of one sample's members; its pictures and its json."""
    first = sample.members[0][1] - BLOCK
    if sample.members[-1][1] + sample.members[-1][2] > len(data):
        yield Damage(shard, f"sample {sample.key} is cut off", first)
        return
    crc = 0
    parts: dict[str, bytes] = {}
    for extension, offset, length in sample.members:
        parts[extension] = data[offset : offset + length]
        crc = zlib.crc32(parts[extension], crc)
        end = offset + length
        if data[offset - BLOCK : offset] != member_header(f"{sample.key}.{extension}", length):
            yield Damage(shard, f"the header of {sample.key}.{extension} changed", offset - BLOCK)
        if data[end : end + len(padding(length))] != padding(length):
            yield Damage(shard, f"the padding after {sample.key}.{extension} changed", end)
    if crc != sample.crc32:
        yield Damage(shard, f"sample {sample.key} changed since it was written (CRC-32)", first + BLOCK)
    for extension, offset, _ in sample.members[:-1]:
        image = decode(parts[extension])
        if image is None or image.shape != (side, side, 3):
            yield Damage(shard, f"{sample.key}.{extension} is no {side} × {side} picture", offset)
    try:
        about = json.loads(parts["json"])
        if about["clip"] != row["clip"] or about["split"] != row["split"] or about["label"] != row["label"]:
            yield Damage(shard, f"{sample.key}.json is about another clip", sample.members[-1][1])
    except (ValueError, KeyError, TypeError):
        yield Damage(shard, f"{sample.key}.json cannot be read", sample.members[-1][1])


def _placed(row: dict[str, Any], mri_format: str) -> Placed:
    members = [("face.jpg", row["face_offset"], row["face_size"])]
    if row["mri_offset"] >= 0:
        members.append((f"mri.{mri_format}", row["mri_offset"], row["mri_size"]))
    return Placed(row["key"], [*members, ("json", row["json_offset"], row["json_size"])], row["crc32"])


def _json(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None

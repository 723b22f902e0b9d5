"""`mrigan shards verify`: is every stored sample still there, byte for byte, and is it a picture?

Each shard is read once, from front to back: its SHA-256 shows that something is wrong; headers and the CRC-32 of each
sample show where. Units are checked with their own tables, so that a set of any size takes the memory of a few units.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from mrigan.errors import ConfigError, InputError, ShardError
from mrigan.files import sha256_file
from mrigan.packing.contents import without_sha256
from mrigan.packing.record import changed_contents, record_damage
from mrigan.packing.shard_check import SAMPLES_A_SHARD, Damage, UnitCheck, check_unit
from mrigan.progress import bar
from mrigan.regular import read_regular
from mrigan.shardset.layout import CHECKED, parse_json, unit_of
from mrigan.shardset.manifest import manifest_of, read_manifest
from mrigan.shardset.plan_file import Plan, load_plan, stream_units, unit_names
from mrigan.shardset.reading import SetReader, open_set
from mrigan.shardset.rows import same_rows
from mrigan.text import counted
from mrigan.video import read_faces_checked

FACE_TABLE = re.compile(r"[0-9a-f]{32}\.parquet")

INPUTS = ("size", "content")


@dataclass(frozen=True)
class Check:
    """The result of `check_shards`.

    Attributes:
        full: every byte was read; otherwise sizes, indices and some samples of each shard.
        changed: clips that are no longer what their samples were made of.
        units, shards, samples, bytes: of what is built. looked_at: samples that were decoded.
        failed: unit → number of its clips that could not be read when it was built.
        unbuilt: units that were never built.
        unproven: clips without a recorded SHA-256, which therefore could not be compared by every byte.
        unchecked: for a person: what the files of an earlier version cannot show.
        seconds: that the check took.
    """

    folder: str
    plan_hash: str
    full: bool
    damages: list[Damage]
    changed: list[str] = field(default_factory=list)
    units: int = 0
    shards: int = 0
    samples: int = 0
    bytes: int = 0
    looked_at: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    unbuilt: list[str] = field(default_factory=list)
    unproven: int = 0
    unchecked: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.damages and not self.changed

    def as_dict(self) -> dict[str, Any]:
        """For a program, as JSON."""
        return {"schema_version": 1, "ok": self.ok, **asdict(self)}

    def lines(self) -> list[str]:
        """For a person: each damage, and a summary."""
        lines = [str(damage) for damage in self.damages]
        lines += [f"{clip}: is no longer the clip that its samples were made of" for clip in self.changed]
        if self.unproven:
            lines.append(f"{self.unproven} clips have no SHA-256 on record, as in all older sets: of them size, first "
                         "and last 64 KiB were compared")  # fmt: skip
        looked = "every byte" if self.full else f"{self.looked_at} samples and all sizes and indices"
        facts = f"{self.shards} shards of {self.units} units, {self.samples} samples, {_size(self.bytes)}"
        if self.failed:
            lines.append(f"{sum(self.failed.values())} rows of clips that could not be read; try them again: "
                         f"mrigan shards repair {self.folder} --only-failed")  # fmt: skip
        lines += [f"not proven: {what}" for what in self.unchecked]
        problems = len(self.damages) + len(self.changed)
        verdict = "all is well" if self.ok else counted(problems, "problem")
        return [*lines, f"{self.folder}: {verdict} ({facts}; looked at {looked} in {self.seconds:.0f} s)"]


def verify_shards(out: str | Path, full: bool = True, workers: int = 0) -> list[Damage]:
    """What is wrong with a shard folder; empty = nothing. See `check_shards`."""
    return check_shards(out, full, workers).damages


def check_shards(
    out: str | Path, full: bool = True, workers: int = 0, inputs: str = "", scratch: str | Path = ""
) -> Check:
    """Check a set against its plan, its units' markers and its manifest.

    Args:
        out: the folder of the set, or a URL.
        full: hash every shard, check and decode every sample; otherwise sizes, indices and some samples of each shard.
        workers: threads (reading, hashing and decoding release the GIL), 0 = one for each CPU core.
        inputs: one of `INPUTS`, to check also whether the clips are still those that the samples were made of.
            `size`: the contents of clips whose size or time has changed; `content`: every byte of every clip.
        scratch: folder of this machine for copies of files at a URL, "" = the system's.

    Raises:
        ConfigError: `inputs` is another word.
        ShardError: there is no plan, or it is damaged, so there is nothing to check against; or the server does not
            answer.
    """
    if inputs not in ("", *INPUTS):
        raise ConfigError(f"unknown value {inputs!r}", where="--inputs", fix=" or ".join(INPUTS))
    with open_set(out, scratch) as reader:
        return _check(reader, full, workers, inputs)


def _check(reader: SetReader, full: bool, workers: int, inputs: str) -> Check:
    started, folder = time.monotonic(), reader.layout.root
    plan, names = load_plan(folder, only=()), unit_names(folder)
    record = record_damage(plan, stream_units(folder))
    checks: list[UnitCheck] = []
    threads = workers or len(os.sched_getaffinity(0))
    with bar("verify", len(names), unit="units") as advance, ThreadPoolExecutor(threads) as pool:
        for check in pool.map(lambda name: check_unit(plan, name, full, reader), names):
            checks.append(check)
            advance(note=f"{sum(len(check.damages) for check in checks)} problems")
        tables = list(pool.map(partial(_check_faces, reader, plan), _face_tables(reader, plan, full)))
    reader.bring_whole()
    layout = plan.layout
    listed = {shard["shard"] for check in checks for shard in check.shards}
    finished = layout.manifest.is_file()
    damages = [damage for check in checks for damage in check.damages]
    damages += [*_strangers(reader, plan, names, listed), *_whole(plan, checks)]
    damages += [Damage(plan.layout.inputs.name, record)] if record else []
    damages += [table for table in tables if isinstance(table, Damage)]
    made_of = {clip: content for check in checks if check.marker for clip, content in check.marker.inputs.items()}
    whole = inputs == "content"
    changed = [clip.path for clip in changed_contents(load_plan(folder), made_of, whole)] if inputs else []
    return Check(
        reader.where, plan.hash, full, damages, changed, units=len(names), shards=len(listed),
        samples=sum(shard["samples"] for check in checks for shard in check.shards),
        bytes=sum(shard["bytes"] for check in checks for shard in check.shards),
        looked_at=sum(check.looked_at for check in checks),
        failed={check.unit: check.failed for check in checks if check.failed},
        unbuilt=[check.unit for check in checks if not check.built] if not finished else [],
        unproven=without_sha256(made_of) if whole else 0,
        unchecked=_unchecked(plan, tables.count(False), len(tables)), seconds=time.monotonic() - started,
    )  # fmt: skip


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _strangers(reader: SetReader, plan: Plan, names: Sequence[str], listed: set[str]) -> Iterator[Damage]:
    """Shards that no marker lists."""
    for name in reader.shards():
        if name not in listed:
            reader.bring_beside(name)
            beside, unit = _sidecar(reader.layout.sidecar(name)), unit_of(name)
            if unit not in names or (beside is not None and beside.get("plan_hash") != plan.hash):
                yield Damage(name, "is a shard of another plan")
            elif not reader.built(unit):
                continue  # an unfinished unit, which is reported
            else:  # left by a killed repair; rebuilding the unit removes it
                yield Damage(name, "is in no manifest", unit=unit)


def _sidecar(path: Path) -> dict[str, Any] | None:
    """The content of a sidecar: {} if it is damaged, None if it does not exist."""
    try:
        return parse_json(read_regular(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}


def _whole(plan: Plan, checks: Sequence[UnitCheck]) -> Iterator[Damage]:
    """Compare the manifest and the table of the whole set with the units."""
    layout = plan.layout
    try:
        manifest = read_manifest(layout, plan.format)
    except ShardError as error:
        yield Damage(layout.manifest.name, error.what.removeprefix("manifest.json "))
        return
    if manifest.get("plan_hash") != plan.hash:
        yield Damage(layout.manifest.name, "belongs to another plan")
        return
    if not layout.samples.is_file():
        yield Damage(layout.samples.name, "is missing")
        return
    written = sha256_file(layout.samples) == manifest.get("samples_sha256")
    if not written:
        yield Damage(layout.samples.name, "is not the table that the manifest was written with")
    markers = [check.marker for check in checks if check.marker]
    if len(markers) == len(checks):
        expected = manifest_of(plan, markers) | {"samples_sha256": manifest.get("samples_sha256")}
        if manifest != expected:
            keys = sorted(key for key in manifest | expected if manifest.get(key) != expected.get(key))
            yield Damage(layout.manifest.name, f"contradicts the units in {', '.join(keys)}")
        elif written and not any(check.damages for check in checks):
            try:
                same = same_rows([layout.unit_rows(check.unit) for check in checks], layout.samples)
            except (OSError, ValueError, pa.ArrowException):  # ValueError: a column has another name
                same = False
            if not same:
                yield Damage(layout.samples.name, "does not hold the rows of the units")


def is_face_table(file: str) -> bool:
    """Whether this is the name of a table of detections, with or without its folder."""
    return FACE_TABLE.fullmatch(Path(file).name) is not None


def _face_tables(reader: SetReader, plan: Plan, full: bool) -> list[Path | str]:
    """The tables of detections: names in the set, paths in a folder that sets share."""
    shared = plan.config.pack.faces_dir
    tables: list[Path | str] = [*(sorted(Path(shared).glob("*.parquet")) if shared else reader.faces())]
    tables = [table for table in tables if is_face_table(str(table))]
    return tables if full else random.Random(plan.hash).sample(tables, min(SAMPLES_A_SHARD, len(tables)))


def _check_faces(reader: SetReader, plan: Plan, table: Path | str) -> Damage | bool:
    """The damage of a table of detections; if there is none, whether a checksum proves that."""
    try:
        with nullcontext(table) if isinstance(table, Path) else reader.open_faces(table) as path:
            return read_faces_checked(path, path.stem)[1]
    except InputError as error:
        return Damage(str(table) if isinstance(table, Path) else f"faces/{table}", error.what)


def _unchecked(plan: Plan, without: int, tables: int) -> list[str]:
    lines = []
    if plan.format < CHECKED:
        lines.append(
            f"a set of format {plan.format} has no checksums in its JSON files and its inputs.parquet: where the clips "
            "lie, their sizes, the libraries and what units were made of may have changed unseen. To prove them, make "
            "a set of the current format: mrigan shards plan CATALOG -o NEW"
        )
    if without:
        lines.append(
            f"{without} of {tables} tables of detections were written by an earlier version and have no checksum: a "
            "changed value in them gives other faces, unseen"
        )
    return lines

"""A finished shard folder, as its manifest, its table of samples and its shards' done markers describe it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mrigan.errors import ShardError
from mrigan.files import hash_json
from mrigan.regular import read_regular, reason
from mrigan.shardset.layout import Layout, parse_json
from mrigan.shardset.manifest import check_samples
from mrigan.shardset.matching import columns_of, matched

log = logging.getLogger(__name__)

MEMBERS = ("face", "mri", "json")  # in the order of the tar


@dataclass(frozen=True)
class Shard:
    """One tar: its path, and the size that its done marker promises."""

    path: Path
    size: int


@dataclass(frozen=True)
class ShardFolder:
    """A finished shard folder.

    Attributes:
        hash: the SHA-256 of its samples.parquet, with what is taken of it: the data hash.
        match, seed: `pack.match` and `pack.seed` of its plan; see `mrigan.shardset.matching`.
        format: of the set. shards: what the manifest says of each tar.
    """

    path: Path
    kind: str
    hash: str
    plan: str
    match: tuple[str, ...] = ()
    seed: int = 0
    format: int = 0
    shards: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> ShardFolder:
        """Check that the folder is finished, and its table the one that its manifest describes."""
        if not path.is_dir():
            raise ShardError("no such shard folder", where=path, fix="look at data.shards")
        content = check_samples(Layout(path))
        try:
            match, seed = tuple(content.get("match") or ()), content.get("seed", 0)
            shards = {shard["shard"]: shard for shard in content["shards"]}
            rows, kind, plan = (str(content[key]) for key in ("samples_sha256", "kind", "plan_hash"))
        except (KeyError, TypeError) as error:
            raise ShardError(
                f"manifest.json is damaged: {error!r}", where=path / "manifest.json", fix=verify(path)
            ) from None
        data_hash = hash_json({"samples": rows, "match": list(match), "seed": seed}) if match else rows
        return cls(path, kind, data_hash, plan, match, seed, content.get("format", 0), shards)

    def columns(self, split: str) -> pa.Table:
        """What reading needs of the samples that are taken: key, fake, shard, offsets and sizes."""
        numbers = [f"{member}_{what}" for member in MEMBERS for what in ("offset", "size")]
        wanted = ["key", "label", "shard", "crc32", *numbers]
        more = [name for name in columns_of(self.match) if name not in wanted] if self.match else []
        try:
            table = pq.read_table(
                self.path / "samples.parquet",
                columns=[*wanted, *more],
                filters=[("split", "=", split), ("status", "=", "ok")],
            )
        except pa.ArrowInvalid as error:
            raise ShardError(
                f"samples.parquet is of another version: {str(error).splitlines()[0]}",
                where=self.path,
                fix="build the shards again with this version",
            ) from None
        if self.match:
            taken = matched(table, self.match, self.seed)
            log.info(
                "%s: %d of the %d %s samples are left out, so that real and fake faces agree in %s",
                self.path, int((~taken).sum()), len(table), split, ", ".join(self.match),
            )  # fmt: skip
            table = table.filter(pa.array(taken)).drop_columns(more)
        fake = pa.array(np.asarray(table["label"].to_pylist(), dtype=object) == "fake")
        return table.drop_columns("label").append_column("fake", fake)

    def shard(self, name: str) -> Shard:
        """Check a tar's size, its done marker and its plan against the manifest; contents are what `verify` checks."""
        tar, marker = self.path / name, (self.path / name).with_suffix(".json")
        for file in (tar, marker):
            if not file.is_file():
                raise ShardError(f"{file.name} is missing", where=file, fix=verify(self.path))
        try:
            promised = parse_json(read_regular(marker), self.format)
        except (OSError, ValueError) as error:
            what = f"{marker.name} is damaged: {reason(error)}"
            raise ShardError(what, where=marker, fix=verify(self.path)) from None
        if promised.get("plan_hash") != self.plan:
            raise ShardError(f"{name} belongs to another plan than its folder", where=marker, fix=verify(self.path))
        listed = self.shards.get(name)
        if listed is None or any(promised.get(key, value) != value for key, value in listed.items()):
            raise ShardError(
                f"{marker.name} says something else than manifest.json", where=marker, fix=verify(self.path)
            )
        size = tar.stat().st_size
        if size != listed["bytes"]:
            raise wrong_size(tar, size, listed["bytes"])
        return Shard(tar, size)


def wrong_size(path: Path, size: int, promised: object) -> ShardError:
    """The error for a shard that is longer or shorter than it was written."""
    return ShardError(
        f"{path.name} has {size} bytes, and {promised} were written: it was cut or replaced",
        where=path,
        fix=verify(path.parent),
    )


def splits_of(folders: list[ShardFolder]) -> str:
    """The splits that have samples, with their numbers, for a message."""
    counts: dict[str, int] = {}
    for folder in folders:
        table = pq.read_table(folder.path / "samples.parquet", columns=["split"], filters=[("status", "=", "ok")])
        for row in table["split"].value_counts().to_pylist():
            counts[row["values"]] = counts.get(row["values"], 0) + row["counts"]
    return ", ".join(f"{split or '(none)'} {count}" for split, count in sorted(counts.items())) or "no samples at all"


def verify(folder: Path) -> str:
    """What to do about a damaged set."""
    return f"mrigan shards verify {folder}"

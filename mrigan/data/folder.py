"""A finished shard folder, as its manifest, its table of samples and its shards' done markers describe it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mrigan.errors import ShardError
from mrigan.files import hash_json, sha256_file
from mrigan.packing.matching import columns_of, matched

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
        match, seed: `pack.match` and `pack.seed` of its plan; see `mrigan.packing.matching`.
    """

    path: Path
    kind: str
    hash: str
    plan: str
    match: tuple[str, ...] = ()
    seed: int = 0

    @classmethod
    def open(cls, path: Path) -> ShardFolder:
        """Check that the folder is finished, and its table the one that its manifest describes."""
        if not path.is_dir():
            raise ShardError("no such shard folder", where=path, fix="look at data.shards")
        manifest = path / "manifest.json"
        if not manifest.is_file():
            raise ShardError(
                "no finished shard set: manifest.json is missing", where=path, fix=f"mrigan shards build {path}"
            )
        content = _json(manifest)
        samples = path / "samples.parquet"
        if not samples.is_file():
            raise ShardError("samples.parquet is missing", where=path, fix=verify(path))
        if sha256_file(samples) != content.get("samples_sha256"):
            raise ShardError(
                "samples.parquet is not the one that manifest.json describes", where=samples, fix=verify(path)
            )
        rows, match, seed = str(content["samples_sha256"]), content.get("match") or [], content.get("seed", 0)
        data_hash = hash_json({"samples": rows, "match": match, "seed": seed}) if match else rows
        return cls(path, str(content.get("kind")), data_hash, str(content.get("plan_hash")), tuple(match), seed)

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
        """Check a tar's size and its plan against its done marker; contents are what `verify` checks."""
        tar, marker = self.path / name, (self.path / name).with_suffix(".json")
        for file in (tar, marker):
            if not file.is_file():
                raise ShardError(f"{file.name} is missing", where=file, fix=verify(self.path))
        promised = _json(marker)
        size = tar.stat().st_size
        if size != promised.get("bytes"):
            raise wrong_size(tar, size, promised.get("bytes"))
        if promised.get("plan_hash") != self.plan:
            raise ShardError(f"{name} belongs to another plan than its folder", where=marker, fix=verify(self.path))
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


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ShardError(f"{path.name} is damaged: it is no JSON object", where=path, fix=verify(path.parent))
    return content


def verify(folder: Path) -> str:
    """What to do about a damaged set."""
    return f"mrigan shards verify {folder}"

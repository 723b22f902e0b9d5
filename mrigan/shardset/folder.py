"""A finished shard folder, as its manifest, its table of samples and the sidecars of its shards describe it."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from mrigan.errors import ShardError
from mrigan.files import hash_json
from mrigan.regular import read_regular, reason
from mrigan.shardset.layout import Layout, parse_json
from mrigan.shardset.manifest import Manifest, check_samples
from mrigan.shardset.matching import columns_of, matched
from mrigan.shardset.rows import select_rows
from mrigan.shardset.tar import MEMBERS
from mrigan.storage import PIPE

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """One tar.

    Attributes:
        path: where it is, or would be if it were staged.
        size: bytes, as the manifest says.
        source: if it is not on this machine: the folder, URL or `pipe:COMMAND` that it is read from.
    """

    path: Path
    size: int
    source: str = ""

    @property
    def where(self) -> str:
        """Its place in words, for messages."""
        return f"{self.path.name} of {self.source}" if self.source else str(self.path)


@dataclass(frozen=True)
class ShardFolder:
    """A finished shard folder; open it with `ShardFolder.open`."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> ShardFolder:
        """Check that the folder is finished, and that its plan and its table are those of its manifest.

        Raises:
            ShardError: they are not.
        """
        if not path.is_dir():
            raise ShardError("no such shard folder", where=path, fix="check data.shards")
        return cls(path, check_samples(Layout(path)))

    @property
    def kind(self) -> str:
        """`pairs` or `faces`."""
        return self.manifest.kind

    @property
    def hash(self) -> str:
        """The data hash: SHA-256 of samples.parquet, together with `pack.match` if that selects samples."""
        manifest = self.manifest
        if not manifest.match:
            return manifest.samples_sha256
        return hash_json({"samples": manifest.samples_sha256, "match": list(manifest.match), "seed": manifest.seed})

    def columns(self, split: str) -> pa.Table:
        """The selected samples of a split with the columns needed to read them: key, fake, shard, offsets and sizes."""
        match, samples = self.manifest.match, Layout(self.path).samples
        numbers = [f"{member}_{what}" for member in MEMBERS for what in ("offset", "size")]
        needed = ["key", "label", "shard", "crc32", *numbers]
        more = [name for name in columns_of(match) if name not in needed] if match else []
        try:
            table = select_rows(samples, [*needed, *more], splits=[split], stored=True)
        except pa.ArrowInvalid as error:
            raise ShardError(
                f"samples.parquet is of another version: {str(error).splitlines()[0]}",
                where=self.path,
                fix="build the shards again with this version",
            ) from None
        if match:
            selected = matched(table, match, self.manifest.seed)
            log.info(
                "%s: %d of the %d %s samples are left out, so that real and fake faces agree in %s",
                self.path, int((~selected).sum()), len(table), split, ", ".join(match),
            )  # fmt: skip
            table = table.filter(pa.array(selected)).drop_columns(more)
        fake = pa.array(np.asarray(table["label"].to_pylist(), dtype=object) == "fake")
        return table.drop_columns("label").append_column("fake", fake)

    def remote_shard(self, name: str, source: str) -> Shard:
        """A tar that is read from `source`, as the manifest lists it."""
        entry = self.manifest.shards.get(name)
        if entry is None:
            raise ShardError(f"manifest.json does not list {name}", where=self.path, fix=verify(source))
        return Shard(self.path / name, entry.bytes, source)

    def shard(self, name: str) -> Shard:
        """Check a tar's size, its sidecar and its plan against the manifest; `verify` checks the contents.

        Raises:
            ShardError: they differ, or a file is missing.
        """
        layout, manifest = Layout(self.path), self.manifest
        tar, sidecar = layout.shard(name), layout.sidecar(name)
        for file in (tar, sidecar):
            if not file.is_file():
                raise ShardError(f"{file.name} is missing", where=file, fix=verify(self.path))
        try:
            promised = parse_json(read_regular(sidecar), manifest.format)
        except (OSError, ValueError) as error:
            what = f"{sidecar.name} is damaged: {reason(error)}"
            raise ShardError(what, where=sidecar, fix=verify(self.path)) from None
        if promised.get("plan_hash") != manifest.plan_hash:
            raise ShardError(f"{name} belongs to another plan than its folder", where=sidecar, fix=verify(self.path))
        entry = manifest.shards.get(name)
        if entry is None or any(promised.get(key, value) != value for key, value in asdict(entry).items()):
            raise ShardError(f"{sidecar.name} contradicts manifest.json", where=sidecar, fix=verify(self.path))
        size = tar.stat().st_size
        if size != entry.bytes:
            raise wrong_size(tar, size, entry.bytes)
        return Shard(tar, size)


def wrong_size(path: Path, size: int, promised: object) -> ShardError:
    """The error for a shard that is longer or shorter than it was written."""
    return ShardError(
        f"{path.name} has {size} bytes, and {promised} were written: it was truncated or replaced",
        where=path,
        fix=verify(path.parent),
    )


def splits_of(folders: list[ShardFolder]) -> str:
    """The splits that have samples, with their numbers, for a message."""
    counts: dict[str, int] = {}
    for folder in folders:
        table = select_rows(Layout(folder.path).samples, ["split"], stored=True)
        for row in table["split"].value_counts().to_pylist():
            counts[row["values"]] = counts.get(row["values"], 0) + row["counts"]
    return ", ".join(f"{split or '(none)'} {count}" for split, count in sorted(counts.items())) or "no samples at all"


def verify(folder: Path | str) -> str:
    """What to do about a damaged set."""
    if str(folder).startswith(PIPE):  # a command is no folder that can be verified
        return "mrigan shards verify DIR, where the set lies"
    return f"mrigan shards verify {folder}"

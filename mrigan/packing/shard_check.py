"""One unit against its marker: its table of rows, its shards, their indices, and each sample in them."""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mrigan.files import sha256_file
from mrigan.imaging.encoding import decode
from mrigan.regular import read_regular, reason
from mrigan.shardset.layout import NAMES, parse_json
from mrigan.shardset.marker import Marker, read_marker
from mrigan.shardset.plan_file import Plan
from mrigan.shardset.reading import Read, SetReader
from mrigan.shardset.rows import FAILED, STORED, read_rows
from mrigan.shardset.tar import BLOCK, FACE, JSON, Placed, index_text, member_header, mri_member, padding

SAMPLES_A_SHARD = 32  # decoded without `full`
MAX_DAMAGES = 20  # listed a shard
CHUNK_BYTES = 1 << 20  # read at a time after the last sample


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong.

    Attributes:
        file: name in the shard folder.
        what: what is wrong with it.
        offset: of the damaged bytes in the file, None if the damage is of the whole file.
        unit: whose file it is, "" for a file of the whole set.
    """

    file: str
    what: str
    offset: int | None = None
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.file}{'' if self.offset is None else f' at byte {self.offset}'}: {self.what}"


@dataclass
class UnitCheck:
    """The result for a unit.

    Attributes:
        built: it has a marker. marker: None if it is missing or damaged. looked_at: samples that were decoded.
    """

    unit: str
    built: bool = True
    damages: list[Damage] = field(default_factory=list)
    marker: Marker | None = None
    looked_at: int = 0

    @property
    def shards(self) -> list[dict[str, Any]]:
        return self.marker.shards if self.marker else []

    @property
    def failed(self) -> int:
        """Rows about clips that could not be read."""
        return self.marker.counts.get(FAILED, 0) if self.marker else 0

    def add(self, file: str, what: str, offset: int | None = None) -> None:
        self.damages.append(Damage(file, what, offset, self.unit))


def check_unit(plan: Plan, name: str, full: bool, reader: SetReader) -> UnitCheck:
    """Check a unit's files; see `mrigan.packing.verify.check_shards`."""
    layout, check = reader.layout, UnitCheck(name)
    reader.bring_unit(name)
    marker, table = (path.as_posix() for path in (NAMES.unit_marker(name), NAMES.unit_rows(name)))
    try:
        check.marker = read_marker(read_regular(layout.unit_marker(name)), plan, name)
    except FileNotFoundError:
        check.built = False
        check.add(marker, "the unit is not built")
        return check
    except (OSError, ValueError) as error:
        check.add(marker, f"cannot be read: {reason(error)}" if isinstance(error, OSError) else str(error))
        return check
    path = layout.unit_rows(name)
    if not path.is_file():
        check.add(table, "is missing")
    elif sha256_file(path) != check.marker.rows_sha256:
        check.add(table, "is not the table that its unit was finished with")
    if check.damages:  # without its table the samples cannot be located: compare sizes and hashes
        for shard in check.shards:
            _Shard(plan, reader, shard, [], check).check_hash(full)
        return check
    rows = read_rows(path)
    counts = Counter(label if status == STORED else status for label, status in zip(
        rows["label"].to_pylist(), rows["status"].to_pylist(), strict=True))  # fmt: skip
    if counts != Counter(check.marker.counts):
        check.add(marker, "counts differ from its table")
    if not set(rows["clip"].unique().to_pylist()) <= check.marker.inputs.keys():
        check.add(marker, "has no fingerprint of some clips in its table")
    by_shard = _by_shard(rows)
    for shard in check.shards:
        reader.bring_beside(shard["shard"])
        _Shard(plan, reader, shard, by_shard.get(shard["shard"], []), check).check(full)
    return check


def _by_shard(table: pa.Table) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        if row["status"] == STORED:
            rows.setdefault(row["shard"], []).append(row)
    for members in rows.values():
        members.sort(key=lambda row: row["face_offset"])
    return rows


class _Shard:
    """One shard, its index and its sidecar, against the rows of its samples."""

    def __init__(
        self, plan: Plan, reader: SetReader, facts: dict[str, Any], rows: Sequence[dict[str, Any]], check: UnitCheck
    ) -> None:
        self.plan, self.reader, self.facts, self.check_of = plan, reader, facts, check
        self.name = facts["shard"]
        self.rows = rows
        self.placed = [_placed(row, plan.config.pack.mri_format) for row in rows]
        self.count = 0

    def add(self, what: str, offset: int | None = None) -> None:
        self.count += 1
        if self.count <= MAX_DAMAGES:
            self.check_of.add(self.name, what, offset)
        elif self.count == MAX_DAMAGES + 1:
            self.check_of.add(self.name, "has more damages, which are not listed")

    def check_hash(self, full: bool) -> None:
        """The size, and the SHA-256 if `full`."""
        if self._has_size() and full and not self.count:
            digest = hashlib.sha256()
            with self.reader.open(self.name, whole=True) as read:
                _update(digest, read, 0)
            if digest.hexdigest() != self.facts["sha256"]:
                self.add("SHA-256 mismatch")

    def _has_size(self) -> bool:
        """Whether the shard exists; another size than it was written with is a damage."""
        size, written = self.reader.size(self.name), self.facts["bytes"]
        if size is None:
            self.add(f"is missing, and with it {self.facts['samples']} samples")
        elif size != written:
            self.add(f"has {size} of {written} bytes", min(size, written))
        return size is not None

    def check(self, full: bool) -> None:
        """The index, the sidecar, the size, and the samples: all of them, or some."""
        self._beside()
        if not self._has_size():
            return
        if len(self.rows) != self.facts["samples"]:
            what = f"has {len(self.rows)} samples of {self.name}, {self.facts['samples']} were written"
            self.check_of.add(NAMES.unit_rows(self.check_of.unit).as_posix(), what)
        try:
            with self.reader.open(self.name, full) as read:
                self._all(read) if full else self._some(read)
        except OSError as error:
            self.add(f"cannot be read: {error.strerror}")

    def _beside(self) -> None:
        layout, check = self.reader.layout, self.check_of
        sidecar, index = layout.sidecar(self.name), layout.index(self.name)
        try:
            beside = parse_json(read_regular(sidecar), self.plan.format)
            if beside.get("plan_hash") != self.plan.hash:
                check.add(sidecar.name, "belongs to another plan")
            elif beside != self.facts:
                keys = sorted(key for key in beside | self.facts if beside.get(key) != self.facts.get(key))
                check.add(sidecar.name, f"contradicts the unit's marker in {', '.join(keys)}")
        except FileNotFoundError:
            check.add(sidecar.name, "is missing")
        except (OSError, ValueError) as error:
            check.add(sidecar.name, f"cannot be read: {reason(error)}")
        if not index.is_file():
            check.add(index.name, "is missing")
        elif index.read_bytes() != index_text(self.placed).encode():
            check.add(index.name, "does not describe its shard")

    def _all(self, read: Read) -> None:
        """Every byte, once."""
        digest, at = hashlib.sha256(), 0
        for row, sample in zip(self.rows, self.placed, strict=True):
            start, end = _span(sample)
            if start != at:
                self.add(f"sample {sample.key} is not where the one before it ends", at)
            data = read(end - start, start)
            digest.update(data)
            self._sample(data, start, row, sample)
            at = end
        _update(digest, read, at)
        if not self.count and digest.hexdigest() != self.facts["sha256"]:
            self.add("SHA-256 mismatch: the end of the archive changed", at)

    def _some(self, read: Read) -> None:
        samples = list(zip(self.rows, self.placed, strict=True))
        for row, sample in random.Random(self.name).sample(samples, min(SAMPLES_A_SHARD, len(samples))):
            start, end = _span(sample)
            self._sample(read(end - start, start), start, row, sample)

    def _sample(self, data: bytes, start: int, row: dict[str, Any], sample: Placed) -> None:
        """Headers, data and padding of one sample's members; its pictures and its json."""
        self.check_of.looked_at += 1
        if start + len(data) < sample.members[-1][1] + sample.members[-1][2]:
            self.add(f"sample {sample.key} is truncated", start)
            return
        crc, parts = 0, {}
        for extension, offset, length in sample.members:
            at, end = offset - start, offset - start + length
            parts[extension] = data[at:end]
            crc = zlib.crc32(parts[extension], crc)
            if data[at - BLOCK : at] != member_header(f"{sample.key}.{extension}", length):
                self.add(f"the header of {sample.key}.{extension} changed", offset - BLOCK)
            if data[end : end + len(padding(length))] != padding(length):
                self.add(f"the padding after {sample.key}.{extension} changed", start + end)
        if crc != sample.crc32:
            self.add(f"sample {sample.key} changed since it was written (CRC-32)", start + BLOCK)
            return
        for what, offset in self._contents(parts, row, sample):
            self.add(what, offset)

    def _contents(self, parts: dict[str, bytes], row: dict[str, Any], sample: Placed) -> Iterator[tuple[str, int]]:
        side = self.plan.config.faces.size
        for extension, offset, _ in sample.members[:-1]:
            image = decode(parts[extension])
            if image is None or image.shape != (side, side, 3):
                yield f"{sample.key}.{extension} is not a {side} × {side} picture", offset
        try:
            about = json.loads(parts[JSON])
            same = all(about[key] == row[key] for key in ("clip", "split", "label"))
        except (ValueError, KeyError, TypeError):
            yield f"{sample.key}.json cannot be read", sample.members[-1][1]
            return
        if not same:
            yield f"{sample.key}.json is about another clip", sample.members[-1][1]


def _update(digest: hashlib._Hash, read: Read, at: int) -> None:
    """Hash what follows byte `at`."""
    while data := read(CHUNK_BYTES, at):
        digest.update(data)
        at += len(data)


def _span(sample: Placed) -> tuple[int, int]:
    """Where a sample begins and ends in its shard, with its headers and its padding."""
    _, offset, length = sample.members[-1]
    return sample.members[0][1] - BLOCK, offset + length + len(padding(length))


def _placed(row: dict[str, Any], mri_format: str) -> Placed:
    members = [(FACE, row["face_offset"], row["face_size"])]
    if row["mri_offset"] >= 0:
        members.append((mri_member(mri_format), row["mri_offset"], row["mri_size"]))
    return Placed(row["key"], [*members, (JSON, row["json_offset"], row["json_size"])], row["crc32"])

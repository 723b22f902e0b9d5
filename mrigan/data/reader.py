"""Shards by index: the samples of a set of shard folders, and their bytes in any order.

Plain webdataset reads tars from front to back; the offsets in `samples.parquet` let us read any sample at any time, so
that the epoch plan alone decides the order. A sample is one positioned read. From page cache it is as fast as a memory
map; but if storage fails or a shard is cut meanwhile, it raises an error, where a map would kill the process (SIGBUS).
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mrigan.data.open_shards import OpenShards
from mrigan.data.window import ShardWindow
from mrigan.errors import ShardError
from mrigan.files import hash_json
from mrigan.shardset.folder import Shard, ShardFolder, splits_of, verify
from mrigan.shardset.layout import Layout
from mrigan.shardset.rows import select_rows
from mrigan.shardset.tar import BLOCK, MEMBERS, NAME_PREFIXES

_FACE, _MRI, _JSON = NAME_PREFIXES
_ORDER = [("key", "ascending")]
_INDEX = np.dtype(
    [
        ("shard", np.int32),
        *((f"{m}_offset", np.int64) for m in MEMBERS),
        *((f"{m}_size", np.int32) for m in MEMBERS),
        ("crc32", np.int64),
    ]
)


class SampleError(ShardError):
    """One sample cannot be read or decoded. The error names the shard, the key and the offset.

    Attributes:
        sample: its place in the `ShardSet`.
        unusable: nothing is damaged, but the sample lacks what is needed of it: another one replaces it in any case.
    """

    unusable = False

    def __init__(self, sample: int, what: str, *, where: str | Path | None, fix: str | None) -> None:
        super().__init__(what, where=where, fix=fix)
        self.sample = sample

    def __reduce__(self) -> tuple[Any, ...]:  # errors cross from loader processes
        return _sample_error, (self.sample, self.what, self.where, self.fix)


def _sample_error(sample: int, what: str, where: str | Path | None, fix: str | None) -> SampleError:
    return SampleError(sample, what, where=where, fix=fix)


class ShardSet:
    """The `ok` samples of one split in one or more shard folders, sorted by key; open it with `ShardSet.open`.

    An id is a sample's place in the order of keys, so it depends on the data only, not on the order of folders or rows.

    Attributes:
        folders: of the shards.
        split: of the samples.
        kind: "pairs" if every folder holds pairs, else "faces" (no MRIs are read).
        labels: (N,) uint8, 1 = fake.
        hash: hex SHA-256, the data hash of all folders, in any order. folder_hashes: that of each.
        verify: when a sample's CRC-32 is checked: "first" (when a process first reads it), "always", "never".
        open_shards: the tars that are open.
    """

    verify: str = "first"

    def __init__(
        self,
        folders: list[Path],
        *,
        split: str,
        kind: str,
        hash: str,
        folder_hashes: list[str],
        shards: list[Shard],
        columns: pa.Table,
    ) -> None:
        self.folders, self.split, self.kind, self.hash, self.folder_hashes = folders, split, kind, hash, folder_hashes
        self.labels: npt.NDArray[np.uint8] = np.asarray(columns["fake"]).astype(np.uint8)
        self._shards = shards
        self.open_shards = OpenShards(shards)
        self._keys = np.asarray(columns["key"].to_pylist(), dtype=np.bytes_)
        self._index = np.empty(len(columns), _INDEX)
        for name in _INDEX.fields or ():
            self._index[name] = np.asarray(columns[name])
        self._checked = np.zeros(len(columns), bool)

    @classmethod
    def open(
        cls,
        folders: list[str | Path] | list[str] | list[Path],
        split: str,
        kind: str = "any",
        sources: Sequence[str] = (),
    ) -> ShardSet:
        """Open the samples of `split` ("train", "val", "test") in `folders`.

        Args:
            kind: "pairs" refuses folders without MRIs; "any" takes both.
            sources: if `folders` hold the tables only: for each folder, what its tars are read from (a folder, a URL or
                `pipe:COMMAND`). Single samples are then read slowly.

        Raises:
            ShardError: a folder is not a finished shard set, lacks a shard or has a cut or foreign one; a `faces` set
                where pairs are needed; a key in two places; a split without samples.
        """
        if kind not in ("pairs", "any"):
            raise ValueError(f"kind {kind!r} is neither 'pairs' nor 'any'")
        if not folders:
            raise ShardError("no shard folder was given", fix="set data.shards=DIR")
        opened = [ShardFolder.open(Path(folder)) for folder in folders]
        for folder in opened:
            if kind == "pairs" and folder.kind != "pairs":
                raise ShardError(
                    f"the shards are of kind {folder.kind!r} and hold no MRIs, which this training needs",
                    where=folder.path,
                    fix="build shards with pack.kind=pairs from clips with their originals",
                )
        shards: list[Shard] = []
        parts = []
        for folder, source in zip(opened, sources or [""] * len(opened), strict=True):
            table = folder.columns(split)
            names = sorted(set(table["shard"].unique().to_pylist()))
            checked = [folder.remote_shard(name, source) if source else folder.shard(name) for name in names]
            place = {name: len(shards) + i for i, name in enumerate(names)}
            numbers = pa.array([place[name] for name in table["shard"].to_pylist()], pa.int32())
            parts.append(table.set_column(table.schema.get_field_index("shard"), "shard", numbers))
            shards += checked
        matches = any(folder.manifest.match for folder in opened)
        columns = pa.concat_tables(parts).sort_by(_ORDER)
        if len(columns) == 0:
            raise ShardError(
                f"no usable sample in split {split!r}",
                where=", ".join(str(f.path) for f in opened),
                fix=f"there are: {splits_of(opened)}"
                + ("; pack.match leaves none, because reals and fakes have no values in common" if matches else ""),
            )
        data_hash = hash_json(sorted(folder.hash for folder in opened))
        pairs = all(folder.kind == "pairs" for folder in opened)
        result = cls(
            [f.path for f in opened],
            split=split,
            kind="pairs" if pairs else "faces",
            hash=data_hash,
            folder_hashes=[folder.hash for folder in opened],
            shards=shards,
            columns=columns,
        )
        result._check()
        return result

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> dict[str, int]:
        """`{"samples": …, "fakes": …, "reals": …}`."""
        fakes = int(self.labels.sum())
        return {"samples": len(self), "fakes": fakes, "reals": len(self) - fakes}

    @property
    def keys(self) -> npt.NDArray[np.bytes_]:
        """(N,) the samples' keys as ASCII bytes, in ascending order; `key(i)` gives one as text."""
        return self._keys

    def key(self, i: int) -> str:
        """The key of sample `i`."""
        return self._keys[i].decode()

    @cached_property
    def rows(self) -> pa.Table:
        """All columns of the samples' rows in `samples.parquet` (data set, method, name, frame, ...), by id."""
        tables = [select_rows(Layout(folder).samples, splits=[self.split], stored=True) for folder in self.folders]
        rows = pa.concat_tables(tables).sort_by(_ORDER)
        if len(rows) > len(self):  # pack.match and `subset` leave some out
            rows = rows.filter(pc.is_in(rows["key"], pa.array([key.decode() for key in self._keys.tolist()])))
        return rows

    def subset(self, ids: npt.NDArray[np.int64]) -> ShardSet:
        """These samples alone, numbered anew in the order given; the data hash stays that of all. Ids may repeat."""
        part = copy.copy(self)
        part.__dict__.pop("rows", None)
        part.labels, part._keys, part._index = self.labels[ids], self._keys[ids], self._index[ids]
        part._checked = np.zeros(len(ids), bool)
        part.reopen()
        return part

    def read(self, i: int) -> tuple[bytes, bytes | None, bytes]:
        """The encoded face, the encoded MRI (None in a set of faces) and the JSON of sample `i`.

        Raises:
            SampleError: the shard is missing or was cut, something else is at that position, or (see `verify`) the
                CRC-32 differs.
        """
        face, mri, text = self.view(i)
        return bytes(face), None if mri is None else bytes(mri), bytes(text)

    def view(self, i: int) -> tuple[memoryview, memoryview | None, memoryview]:
        """`read` without a copy: the parts of one buffer."""
        # Written without loops: at 100,000 reads a second, loops and tuples would cost more than the reads.
        shard, face_at, mri_at, json_at, face_size, mri_size, json_size, _ = self._index.item(i)
        start = face_at - BLOCK
        data = self._bytes(i, shard, start, json_at + json_size - start)
        key = self._keys[i]
        whole = memoryview(data)
        if not data.startswith(key + _FACE):
            raise self.damaged(i, "face", "is not where the index says")
        face, mri = whole[BLOCK : BLOCK + face_size], None
        if mri_size >= 0:  # else a set of faces
            at = mri_at - start
            if not data.startswith(key + _MRI, at - BLOCK):
                raise self.damaged(i, "mri", "is not where the index says")
            mri = whole[at : at + mri_size]
        at = json_at - start
        if not data.startswith(key + _JSON, at - BLOCK):
            raise self.damaged(i, "json", "is not where the index says")
        text = whole[at:]
        self.check(i, face, mri, text)
        return face, mri, text

    def json(self, i: int) -> bytes:
        """The JSON of sample `i` alone, without its CRC-32 being checked.

        Raises:
            SampleError: as `read`.
        """
        shard, at, size = (int(self._index[name][i]) for name in ("shard", "json_offset", "json_size"))
        return self._bytes(i, shard, at, size)

    def check(self, i: int, face: memoryview, mri: memoryview | None, text: memoryview) -> None:
        """Compare the parts of sample `i` with its CRC-32, if `verify` demands it.

        Raises:
            SampleError: a byte has changed since they were written.
        """
        if self.verify == "never" or (self.verify == "first" and self._checked[i]):
            return
        crc = zlib.crc32(face)
        if mri is not None:
            crc = zlib.crc32(mri, crc)
        if zlib.crc32(text, crc) != self._index["crc32"][i]:
            raise self.damaged(i, "face", "or its other parts changed since they were written (CRC-32)")
        self._checked[i] = True

    def damaged(self, i: int, name: str, what: str) -> SampleError:
        """An error about member `name` of sample `i` that names the shard, the key and the offset."""
        row = self._index[i]
        shard = self._shards[row["shard"]]
        place = f"{shard.where} at byte {row[f'{name}_offset']} ({row[f'{name}_size']} bytes)"
        fix = verify(shard.source or shard.path.parent)
        return SampleError(i, f"the {name} of sample {self.key(i)} {what}", where=place, fix=fix)

    def shards_of(self, label: int) -> list[tuple[int, Shard]]:
        """The tars with samples of one class (1 = fake), with their numbers."""
        numbers = np.unique(self._index["shard"][self.labels == label])
        return [(number, self._shards[number]) for number in numbers.tolist()]

    def members(self, number: int, label: int) -> dict[str, int]:
        """Key → id of the samples of one class in tar `number`."""
        ids = np.flatnonzero((self._index["shard"] == number) & (self.labels == label))
        return {self.key(i): i for i in ids.tolist()}

    def places(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For each sample, (N,) int64 each: the number of its shard, and its offset there.

        Shards are numbered by their smallest key, so that the numbers depend on the data only.
        """
        _, first, shard = np.unique(self._index["shard"], return_index=True, return_inverse=True)
        number = np.empty(len(first), np.int64)
        number[np.argsort(first)] = np.arange(len(first))
        return number[shard], self._index["face_offset"].copy()

    def window(self, shards: int, global_batch: int) -> ShardWindow:
        """The window of an `EpochPlan` over these samples. From now on shards are read ahead.

        Args:
            shards: open at any time.

        Raises:
            ConfigError: fewer than two.
        """
        window = ShardWindow(shards, global_batch, *self.places())
        self.open_shards = OpenShards(self._shards, 2 * shards, ahead=True)  # two epochs meet in a batch
        return window

    def reopen(self) -> None:
        """Forget the open files without closing them for others: for a forked process, whose locks may be held."""
        self.open_shards = self.open_shards.fresh()

    def close(self) -> None:
        """Close the shards; reading opens them again."""
        self.open_shards.close()

    def _bytes(self, i: int, number: int, start: int, count: int) -> bytes:
        try:
            data = self.open_shards.read(number, start, count)
        except OSError as error:
            raise self.damaged(i, "face", f"cannot be read: {error.strerror}") from None
        except ShardError as error:
            raise SampleError(i, error.what, where=error.where, fix=error.fix) from None
        if len(data) != count:
            raise self.damaged(i, "face", "or its other parts lie behind the end of the shard: it was cut")
        return data

    def _check(self) -> None:
        """Check that no key is there twice, every member is inside its shard, and every sample of pairs has an MRI."""
        twice = np.flatnonzero(self._keys[1:] == self._keys[:-1])
        if len(twice):
            i = int(twice[0])
            places = [str(self._shards[self._index["shard"][j]].path) for j in (i, i + 1)]
            raise ShardError(
                f"key {self.key(i)} is there twice ({len(twice)} such keys): the folders overlap",
                where=" and ".join(places),
                fix="give each shard folder once, or plan the sets from disjoint catalogs",
            )
        ends = np.asarray([shard.size for shard in self._shards])[self._index["shard"]]
        before = np.zeros_like(ends)
        for name in MEMBERS:
            offsets, sizes = self._index[f"{name}_offset"], self._index[f"{name}_size"]
            absent = (sizes < 0) & (name == "mri") & (self.kind != "pairs")
            wrong = np.flatnonzero(~absent & ((offsets < before + BLOCK) | (sizes <= 0) | (offsets + sizes > ends)))
            if len(wrong):
                raise self.damaged(int(wrong[0]), name, "does not lie where a sample's parts do")
            before = np.where(absent, before, offsets + sizes)

    def __getstate__(self) -> dict[str, Any]:  # for workers: without open files and the columns that only reports need
        kept = {k: v for k, v in self.__dict__.items() if k not in ("rows", "open_shards")}
        return {**kept, "_opening": (self.open_shards.max_open, self.open_shards.ahead)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        opening = state.pop("_opening")
        self.__dict__.update(state)
        self.open_shards = OpenShards(self._shards, *opening)

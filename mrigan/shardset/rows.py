"""The table of everything that was processed: a row for each stored sample, dropped face and failed clip."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mrigan.catalog import Clip
from mrigan.files import atomic_write, sha256_file
from mrigan.regular import require_regular
from mrigan.shardset.layout import clip_key, sample_key

UNPROVEN = "unproven"  # value of a sample's optional key `alignment`
STORED, DROPPED, FAILED = "ok", "dropped", "failed"  # values of the column `status`
ROW_GROUP = 1 << 16  # rows in a row group of a whole set
SCHEMA = pa.schema([
    ("key", pa.string()), ("clip", pa.string()), ("dataset", pa.string()), ("method", pa.string()),
    ("compression", pa.string()), ("name", pa.string()), ("label", pa.string()), ("split", pa.string()),
    ("family", pa.string()), ("group", pa.string()), ("person", pa.int32()), ("frame", pa.int32()),
    ("time", pa.float32()), ("width", pa.int32()), ("height", pa.int32()), ("face_px", pa.float32()),
    ("status", pa.string()), ("reason", pa.string()), ("shard", pa.string()),
    ("face_offset", pa.int64()), ("face_size", pa.int64()), ("mri_offset", pa.int64()), ("mri_size", pa.int64()),
    ("json_offset", pa.int64()), ("json_size", pa.int64()), ("mri_mean", pa.float32()), ("crc32", pa.int64()),
])  # fmt: skip


@dataclass
class Row:
    """One line of `samples.parquet`.

    Attributes:
        key: of the sample (see `sample_key`), or of the clip for a clip-level row.
        person, frame: -1 for a row about a whole clip. time: seconds, of the clip's own frame.
        status: STORED, DROPPED (left out on purpose) or FAILED (could not be read).
        reason: "" or "alignment: unproven" of a stored face; unchanged | colourless | outside_frame | misaligned… |
            no_face | missing_original | unreadable: ….
        width, height: px of the frame as displayed, -1 where nothing is stored.
        face_px: width of the face's box in native px, without the margin; NaN where nothing is stored.
        shard: file name, "" where nothing is stored.
        face_offset, mri_offset, json_offset: of the member's data in the tar, bytes; -1 where absent. *_size likewise.
        mri_mean: mean of the MRI before encoding, 0...255; 0 for reals, NaN where there is none.
        crc32: of the members' data one after another, -1 where nothing is stored.
    """

    key: str
    clip: str
    dataset: str
    method: str
    compression: str
    name: str
    label: str
    split: str
    family: str
    group: str
    person: int
    frame: int
    time: float
    status: str
    reason: str
    shard: str = ""
    face_offset: int = -1
    face_size: int = -1
    mri_offset: int = -1
    mri_size: int = -1
    json_offset: int = -1
    json_size: int = -1
    mri_mean: float = float("nan")
    crc32: int = -1
    width: int = -1
    height: int = -1
    face_px: float = float("nan")

    def seen(self, box: Sequence[float], frame_size: Sequence[int]) -> None:
        """Set the sizes of the face and of its frame; see `sample_json`."""
        self.width, self.height = frame_size
        self.face_px = box[2] - box[0]


def row_of(clip: Clip, status: str, reason: str = "", *, frame: int = -1, person: int = -1, time: float = 0.0) -> Row:
    """A row about one face of `clip`, or about the whole clip."""
    key = clip_key(clip.id) if frame < 0 else sample_key(clip.id, frame, person)
    return Row(key, clip.id, clip.dataset, clip.method, clip.compression, clip.name, clip.label, clip.split,
               clip.family, clip.group, person, frame, time, status, reason)  # fmt: skip


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write `rows` as Parquet, atomically; the same rows give the same bytes."""
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    with atomic_write(path) as file:
        pq.write_table(pa.table(columns, schema=SCHEMA), file, compression="zstd")


def read_rows(path: Path) -> pa.Table:
    """All rows of a unit or of a whole set, as one table with the columns of `SCHEMA`."""
    return pq.read_table(require_regular(path), schema=SCHEMA)


def select_rows(
    path: Path, columns: Sequence[str] | None = None, *, splits: Sequence[str] = (), stored: bool | None = None
) -> pa.Table:
    """Some rows of a table, in its order.

    Args:
        columns: None = all.
        splits: whose rows; none = of every split.
        stored: True = stored samples only, False = all other rows.
    """
    filters: list[tuple[str, str, Any]] = [("split", "in", list(splits))] if splits else []
    if stored is not None:
        filters.append(("status", "=" if stored else "!=", STORED))
    return pq.read_table(path, columns=None if columns is None else list(columns), filters=filters or None)


def stored_of(rows: pa.Table) -> pa.Table:
    """The rows of stored samples."""
    return rows.filter(pc.equal(rows["status"], STORED))


def stream_rows(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of a table, row group by row group: a table of millions of rows takes a few MiB."""
    with pq.ParquetFile(require_regular(path)) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=list(columns), use_threads=False)


def merge_rows(paths: Sequence[Path], out: Path) -> None:
    """Merge the rows of the units, in the order given, into one Parquet file, with a row group and a unit in memory.

    A file with the same content is not written again: a finished set may be read-only.
    """
    if out.is_file():
        merged = _Hash()
        _merge(paths, merged)
        if merged.sha256.hexdigest() == sha256_file(out):
            return
    with atomic_write(out) as file:
        _merge(paths, file)


def same_rows(paths: Sequence[Path], whole: Path) -> bool:
    """Whether the table of a whole set holds the rows of the units, in the order given.

    Values are compared, because another version of the Parquet library writes other bytes for the same rows.
    """
    with pq.ParquetFile(require_regular(whole)) as file:
        groups = (file.read_row_group(group, use_threads=False) for group in range(file.num_row_groups))
        waiting = _comparable(SCHEMA.empty_table())
        for path in paths:
            unit = _comparable(read_rows(path))
            while waiting.num_rows < unit.num_rows:
                group = next(groups, None)
                if group is None:
                    return False
                waiting = pa.concat_tables([waiting, _comparable(group.cast(SCHEMA))])
            if not waiting.slice(0, unit.num_rows).equals(unit):
                return False
            waiting = waiting.slice(unit.num_rows)
        return waiting.num_rows == 0 and next(groups, None) is None


def _comparable(rows: pa.Table) -> pa.Table:
    """With null instead of NaN, which equals nothing."""
    for i, column in enumerate(SCHEMA):
        if pa.types.is_floating(column.type):
            rows = rows.set_column(i, column, pc.if_else(pc.is_nan(rows[i]), None, rows[i]))
    return rows


class _Hash(io.RawIOBase):
    """A file that keeps only the SHA-256 of what is written."""

    def __init__(self) -> None:
        self.sha256, self._position = hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position


def _merge(paths: Sequence[Path], file: BinaryIO | _Hash) -> None:
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        for path in paths:
            with pq.ParquetFile(require_regular(path)) as unit:
                waiting.append(unit.read(use_threads=False).cast(SCHEMA))
            while sum(table.num_rows for table in waiting) >= ROW_GROUP:
                rows = pa.concat_tables(waiting)
                writer.write_table(rows.slice(0, ROW_GROUP).combine_chunks(), ROW_GROUP)
                waiting = [rows.slice(ROW_GROUP).combine_chunks()]
        rows = pa.concat_tables([SCHEMA.empty_table(), *waiting])
        if rows.num_rows:
            writer.write_table(rows)


def sample_json(row: Row, clip: Clip, *, box: Sequence[float], frame_size: Sequence[int], prob: float,
                mri: str, augment: dict[str, Any], landmarks: list[list[float]] | None = None) -> bytes:  # fmt: skip
    """The `json` member of a sample.

    Args:
        box: (x0, y0, x1, y1) as found, in native px of the frame as displayed, without the margin.
        frame_size: (w, h) in px.
        augment: the record of the treatment, {} = none; box and frame_size are those of the treated frame.
        mri: name of the perceptual function, `black` for a real face, `none` where there is no MRI.
        landmarks: N × [x, y] in the same px as the box; None = not looked for, or no face is there.
    """
    data: dict[str, Any] = {
        "clip": clip.id, "label": clip.label, "person": row.person, "frame": row.frame, "time": row.time,
        "box": [float(v) for v in box], "frame_size": [int(v) for v in frame_size], "detect_prob": float(prob),
        "original": clip.original, "targets": list(clip.targets), "donors": list(clip.donors), "split": clip.split,
        "mri": mri, "augment": augment, "landmarks": landmarks,
    }  # fmt: skip
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

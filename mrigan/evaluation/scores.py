"""The scores table: one row a face, all that evaluation ever reads. Every table and figure is made from it.

A video is (data set, method, compression, name); two methods may use one file name. A video in which no face was
found has one row with `frame = -1`, `person = -1` and null `time`, `logit`, `prob`: it is no prediction, and it is
counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from mrigan.errors import InputError
from mrigan.files import atomic_write

VIDEO = ("dataset", "method", "compression", "name")  # together a video's id
SCORES_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("method", pa.string()),
        ("compression", pa.string()),
        ("name", pa.string()),
        ("split", pa.string()),
        ("person", pa.int32()),
        ("frame", pa.int32()),  # -1 in the row of a video without a face
        ("time", pa.float64()),  # s
        ("label", pa.int8()),  # 1 = fake, 0 = real
        ("logit", pa.float64()),
        ("prob", pa.float64()),  # prob = P(fake), 0..1
        ("model", pa.string()),
    ]
)
NULLABLE = ("time", "logit", "prob")


def read_scores(files: str | Path | Sequence[str | Path]) -> pa.Table:
    """Read one or several score files (Parquet, or CSV with the same columns), check them, and join them.

    Returns:
        A table of `SCORES_SCHEMA` in canonical order (see `check_scores`).

    Raises:
        InputError: a file is missing or no table, or a row is wrong; the file and the row are named.
    """
    paths = [Path(f) for f in ([files] if isinstance(files, str | Path) else files)]
    if not paths:
        raise InputError("no score file was given")
    tables = [check_scores(_read(path), where=path) for path in paths]
    return tables[0] if len(tables) == 1 else check_scores(pa.concat_tables(tables), where=" + ".join(map(str, paths)))


def write_scores(table: pa.Table, path: str | Path) -> None:
    """Write a scores table as Parquet, atomically."""
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")


def check_scores(table: pa.Table, where: str | Path = "scores") -> pa.Table:
    """Check a scores table and return it cast to `SCORES_SCHEMA`, sorted by model, video, frame and person.

    Rows are counted from 0. Checked: columns, types, nulls and NaN, probabilities within 0..1, labels 0 or 1, one
    label and one split a video, no face scored twice by a model, no video that has faces and is also marked as
    without a face.

    Raises:
        InputError: what is wrong, in which file and row.
    """
    missing = [name for name in SCORES_SCHEMA.names if name not in table.column_names]
    if missing:
        raise InputError(
            f"the scores lack the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
            where=where,
            fix=f"a scores table has the columns {', '.join(SCORES_SCHEMA.names)}",
        )
    if table.num_rows == 0:
        raise InputError("the scores table is empty", where=where, fix="score at least one video")
    table = _cast(table.select(SCORES_SCHEMA.names), where)
    _check_values(table, where)
    order = pc.sort_indices(table, sort_keys=[(k, "ascending") for k in ("model", *VIDEO, "frame", "person")])
    codes, first = group_codes(table, VIDEO)
    for column in ("label", "split"):
        values = table[column].combine_chunks()
        values = (values.dictionary_encode().indices if column == "split" else values).to_numpy(zero_copy_only=False)
        differs = np.flatnonzero(values != values[first][codes])
        if len(differs):
            row, other = int(differs[0]), int(first[codes[differs[0]]])
            raise InputError(
                f"video {_video(table, row)} has two {column}s: {table[column][other].as_py()!r} in row {other}, "
                f"{table[column][row].as_py()!r} in row {row}",
                where=where,
            )
    _check_duplicates(table, where)
    return table.take(order).combine_chunks()


def group_codes(table: pa.Table, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct rows of `columns` as they appear: (code of each row (N,), first row of each code (K,))."""
    codes = np.zeros(table.num_rows, np.int64)
    for name in columns:
        column = table[name].combine_chunks()
        values = column.dictionary_encode().indices.to_numpy() if pa.types.is_string(column.type) else column.to_numpy()
        _, part = np.unique(values, return_inverse=True)
        _, codes = np.unique(codes * (part.max(initial=0) + 1) + part, return_inverse=True)
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[codes], np.sort(first)


def faces_only(table: pa.Table) -> pa.Table:
    """The rows that are faces: without those of videos in which none was found."""
    return table.filter(pc.greater_equal(table["frame"], 0))


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise InputError("no such score file", where=path)
    try:
        if path.suffix.lower() == ".csv":
            types = dict(zip(SCORES_SCHEMA.names, SCORES_SCHEMA.types, strict=True))
            return pyarrow.csv.read_csv(path, convert_options=pyarrow.csv.ConvertOptions(column_types=types))
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"not a readable scores table: {str(error).splitlines()[0]}",
            where=path,
            fix="give the scores.parquet of `mrigan evaluate`, or a CSV file with the same columns",
        ) from None


def _cast(table: pa.Table, where: str | Path) -> pa.Table:
    columns = []
    for field in SCORES_SCHEMA:
        column = table[field.name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        try:
            columns.append(column.cast(field.type))
        except pa.ArrowInvalid as error:
            raise InputError(
                f"column {field.name} is {column.type}, not {field.type}: {str(error).splitlines()[0]}", where=where
            ) from None
    return pa.table(columns, schema=SCORES_SCHEMA)


def _check_values(table: pa.Table, where: str | Path) -> None:
    faceless = pc.less(table["frame"], 0)
    for name in SCORES_SCHEMA.names:
        null = pc.is_null(table[name])
        if name in NULLABLE:
            _refuse(pc.and_(null, pc.invert(faceless)), f"{name} is missing", table, where)
            _refuse(pc.is_nan(table[name]), f"{name} is NaN", table, where)
        else:
            _refuse(null, f"{name} is missing", table, where)
    _refuse(
        pc.invert(pc.is_in(table["label"], pa.array([0, 1], pa.int8()))),
        "label is not 0 (real) or 1 (fake)",
        table,
        where,
    )
    outside = pc.or_(pc.less(table["prob"], 0), pc.greater(table["prob"], 1))
    _refuse(outside, "prob is not within 0..1", table, where)
    _refuse(
        pc.and_(faceless, pc.is_valid(table["prob"])),
        "frame = -1 (no face found) has a prob",
        table,
        where,
    )


def _check_duplicates(table: pa.Table, where: str | Path) -> None:
    codes, first = group_codes(table, ("model", *VIDEO, "frame", "person"))
    repeated = np.flatnonzero(first[codes] != np.arange(table.num_rows))
    if len(repeated):
        row = int(repeated[0])
        face = f"frame {table['frame'][row].as_py()}, person {table['person'][row].as_py()}"
        raise InputError(
            f"rows {first[codes[row]]} and {row} are one face scored twice by {table['model'][row].as_py()}: "
            f"video {_video(table, row)}, {face}",
            where=where,
            fix="give each score file once",
        )
    videos, _ = group_codes(table, ("model", *VIDEO))
    faceless = table["frame"].to_numpy() < 0
    with_face = np.zeros(videos.max() + 1, bool)
    with_face[videos[~faceless]] = True
    contradictory = np.flatnonzero(faceless & with_face[videos])
    if len(contradictory):
        row = int(contradictory[0])
        raise InputError(f"video {_video(table, row)} has faces, but row {row} says that none was found", where=where)


def _refuse(wrong: pa.ChunkedArray, what: str, table: pa.Table, where: str | Path) -> None:
    rows = np.flatnonzero(wrong.fill_null(False).to_numpy())
    if len(rows):
        more = f" (and in {len(rows) - 1} more)" if len(rows) > 1 else ""
        raise InputError(f"row {rows[0]}{more}, video {_video(table, int(rows[0]))}: {what}", where=where)


def _video(table: pa.Table, row: int) -> str:
    return "/".join(str(table[name][row].as_py() or "-") for name in VIDEO)

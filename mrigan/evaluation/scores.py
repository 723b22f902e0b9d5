"""Read, check and write the scores table, one row per face. It is the only input of the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from mrigan.errors import InputError
from mrigan.evaluation.calibration import sigmoid
from mrigan.evaluation.schema import CHECKED, MRI, NULLABLE, OPTIONAL, SCORES_SCHEMA, VIDEO, group_codes
from mrigan.files import atomic_write

MAX_CONTRADICTION = 0.01  # between prob and sigmoid(logit); allows for rounding to two digits


def read_scores(files: str | Path | Sequence[str | Path]) -> pa.Table:
    """Read one or several score files (Parquet, or CSV with the same columns), check them, and join them.

    Returns:
        A table of `CHECKED` columns in canonical order (see `check_scores`).

    Raises:
        InputError: a file is missing or not a table, or a row is wrong; the error names the file and the row.
    """
    paths = [Path(f) for f in ([files] if isinstance(files, str | Path) else files)]
    if not paths:
        raise InputError("no score file was given")
    tables = [_cast(_read(path), path) for path in paths]
    return _check(pa.concat_tables(tables), _Rows([(path, t.num_rows) for path, t in zip(paths, tables, strict=True)]))


def write_scores(table: pa.Table, path: str | Path) -> None:
    """Write a scores table as Parquet, atomically."""
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")


def check_scores(table: pa.Table, where: str | Path = "scores") -> pa.Table:
    """Check a scores table and return it cast to the `CHECKED` columns, sorted by model, video, frame and person.

    Checks: columns, types, nulls and NaN; probabilities within 0..1 that are the sigmoid of their logits (to .01, so
    that rounded files pass); labels 0 or 1; one label and one split per video; no face scored twice by a model; no
    video with faces that is also marked as having none.

    Raises:
        InputError: what is wrong, in which file and row; rows are counted from 0.
    """
    table = _cast(table, where)
    return _check(table, _Rows([(where, table.num_rows)]))


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise InputError("no such score file", where=path)
    try:
        if path.suffix.lower() == ".csv":
            types = dict(zip(CHECKED.names, CHECKED.types, strict=True))
            return pyarrow.csv.read_csv(path, convert_options=pyarrow.csv.ConvertOptions(column_types=types))
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"not a readable scores table: {str(error).splitlines()[0]}",
            where=path,
            fix="give the scores.parquet of `mrigan evaluate`, or a CSV file with the same columns",
        ) from None


def _cast(table: pa.Table, where: str | Path) -> pa.Table:
    missing = [name for name in SCORES_SCHEMA.names if name not in table.column_names]
    if missing:
        raise InputError(
            f"the scores lack the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
            where=where,
            fix=f"a scores table has the columns {', '.join(SCORES_SCHEMA.names)}",
        )
    if table.num_rows == 0:
        raise InputError("the scores table is empty", where=where, fix="score at least one video")
    columns = []
    for field in CHECKED:
        if field.name not in table.column_names:
            blank = None if field.name == MRI.name else ""
            columns.append(pa.array([blank] * table.num_rows, field.type))
            continue
        column = table[field.name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        try:
            column = column.cast(field.type)
            columns.append(column.fill_null("") if field.name in OPTIONAL.names else column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(
                f"column {field.name} is {column.type}, not {field.type}: {str(error).splitlines()[0]}", where=where
            ) from None
    return pa.table(columns, schema=CHECKED)


@dataclass(frozen=True)
class _Rows:
    """Maps the rows of a joined table to their files."""

    files: list[tuple[str | Path, int]]  # name, rows

    def name(self, row: int) -> str:
        for file, rows in self.files:
            if row < rows:
                return f"row {row}" + (f" of {file}" if len(self.files) > 1 else "")
            row -= rows
        raise IndexError(row)

    def where(self) -> str:
        return ", ".join(str(file) for file, _ in self.files)


def _check(table: pa.Table, rows: _Rows) -> pa.Table:
    _check_values(table, rows)
    _check_videos(table, rows)
    _check_faces(table, rows)
    keys = ("model", *VIDEO, "frame", "person")
    return table.sort_by([(key, "ascending") for key in keys]).combine_chunks()


def _check_values(table: pa.Table, rows: _Rows) -> None:
    faceless = pc.less(table["frame"], 0)
    for name in CHECKED.names:
        null = pc.is_null(table[name])
        if name in (*NULLABLE, MRI.name):
            if name != MRI.name:
                _refuse(pc.and_(null, pc.invert(faceless)), f"{name} is missing", table, rows)
            _refuse(pc.is_nan(table[name]), f"{name} is NaN", table, rows)
        else:
            _refuse(null, f"{name} is missing", table, rows)
    labels = pa.array([0, 1], pa.int8())
    _refuse(pc.invert(pc.is_in(table["label"], labels)), "label is not 0 (real) or 1 (fake)", table, rows)
    for name in ("prob", MRI.name):
        outside = pc.or_(pc.less(table[name], 0), pc.greater(table[name], 1))
        _refuse(outside, f"{name} is not within 0..1", table, rows)
    scored = pc.and_(faceless, pc.is_valid(table["prob"]))
    _refuse(scored, "frame = -1 (no face found) has a prob", table, rows)
    _check_logits(table, rows)


def _check_logits(table: pa.Table, rows: _Rows) -> None:
    """Check that each prob is the sigmoid of its logit, because some metrics use the one and some the other."""
    logit, prob = (table[name].fill_null(np.nan).to_numpy() for name in ("logit", "prob"))
    wrong = np.abs(sigmoid(logit) - prob) > MAX_CONTRADICTION
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        what = (
            f"logit {logit[row]:.6g} and prob {prob[row]:.6g} contradict each other: "
            f"the sigmoid of the logit is {float(sigmoid(logit[row])):.6g}"
        )
        fix = "write prob = 1 / (1 + exp(-logit)), the probability of fake; in a calibrated file, change both"
        _refuse(pa.chunked_array([pa.array(wrong)]), what, table, rows, fix)


def _check_videos(table: pa.Table, rows: _Rows) -> None:
    """Check that each video has one label and one split."""
    codes, first = group_codes(table, VIDEO)
    for column in ("label", "split"):
        values, _ = group_codes(table, (column,))
        differs = np.flatnonzero(values != values[first][codes])
        if len(differs):
            row = int(differs[0])
            both = [f"{table[column][r].as_py()!r} in {rows.name(r)}" for r in (int(first[codes[row]]), row)]
            raise InputError(f"video {_video(table, row)} has two {column}s: {', '.join(both)}", where=rows.where())


def _check_faces(table: pa.Table, rows: _Rows) -> None:
    """Check that no model scored a face twice, and that no video with faces is also marked as having none."""
    codes, first = group_codes(table, ("model", *VIDEO, "frame", "person"))
    repeated = np.flatnonzero(first[codes] != np.arange(table.num_rows))
    if len(repeated):
        row = int(repeated[0])
        face = f"frame {table['frame'][row].as_py()}, person {table['person'][row].as_py()}"
        raise InputError(
            f"{rows.name(int(first[codes[row]]))} and {rows.name(row)} are one face scored twice by "
            f"{table['model'][row].as_py()}: video {_video(table, row)}, {face}",
            where=rows.where(),
            fix="give each score file once",
        )
    videos, _ = group_codes(table, ("model", *VIDEO))
    faceless = table["frame"].to_numpy() < 0
    with_face = np.zeros(videos.max() + 1, bool)
    with_face[videos[~faceless]] = True
    wrong = pa.chunked_array([pa.array(faceless & with_face[videos])])
    _refuse(wrong, "frame = -1 says that no face was found, but other rows have its faces", table, rows)


def _refuse(wrong: pa.ChunkedArray, what: str, table: pa.Table, rows: _Rows, fix: str | None = None) -> None:
    wrong_rows = np.flatnonzero(wrong.fill_null(False).to_numpy())
    if len(wrong_rows):
        more = f" (and {len(wrong_rows) - 1} more)" if len(wrong_rows) > 1 else ""
        row = int(wrong_rows[0])
        raise InputError(f"{rows.name(row)}{more}, video {_video(table, row)}: {what}", where=rows.where(), fix=fix)


def _video(table: pa.Table, row: int) -> str:
    return "/".join(str(table[name][row].as_py() or "-") for name in VIDEO)

"""The columns of the scores table, and how its rows are grouped.

(data set, method, compression, name) identify a video. A video without a face has one row with `frame = -1`,
`person = -1` and null `time`, `logit`, `prob`: it is counted, but it is not a prediction. The columns `family`,
`group` (people) and `mri` are optional. Intervals and pairs need the first two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
OPTIONAL = pa.schema([("family", pa.string()), ("group", pa.string())])  # empty = unknown
MRI = pa.field("mri", pa.float64())  # mean brightness of the MRI that the model draws, 0..1; null if it draws none
CHECKED = pa.schema([*SCORES_SCHEMA, *OPTIONAL, MRI])  # the columns of a checked table
NULLABLE = ("time", "logit", "prob")


def group_codes(table: pa.Table, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct rows of `columns` in order of appearance: ((N,) code of each row, (K,) first row of each)."""
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
    """The rows of faces, without the rows of videos without a face."""
    return table.filter(pc.greater_equal(table["frame"], 0))

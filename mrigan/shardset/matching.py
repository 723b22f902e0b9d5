"""`pack.match`: real and fake faces that are alike in compression and resolution, so that neither gives the label away.

MRI-GAN takes its reals from other sources than its fakes (section 3). Within each split, the stored samples are sorted
into cells, one for each value of the facts named (a compression and a step of face widths, say). Of each cell as many
reals as fakes are taken: all of the smaller side, and of the larger side those with the smallest hash of (seed, key).
So the two distributions agree exactly, and which samples are taken depends on nothing but the rows of the set.

The width of a face is known only after detection. So readers of the finished set select from its rows
(`mrigan.data.ShardSet`), and no byte of a shard depends on it: every face is stored, and the others are counted as
`unmatched`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mrigan.errors import ConfigError, ShardError

STEPS_PER_OCTAVE = 4  # of the width: faces in a cell differ in width by less than a fifth
Values = npt.NDArray[np.int64]


def _widths(table: pa.Table) -> Values:
    width = np.asarray(table["face_px"].to_numpy(), np.float64)
    return np.floor(STEPS_PER_OCTAVE * np.log2(np.maximum(np.nan_to_num(width), 1))).astype(np.int64)


def _frames(table: pa.Table) -> Values:
    return np.asarray(table["width"].to_numpy(), np.int64) << 32 | np.asarray(table["height"].to_numpy(), np.int64)


def _words(name: str) -> Callable[[pa.Table], Values]:
    def codes(table: pa.Table) -> Values:
        return np.unique(np.asarray(table[name].to_pylist(), dtype=str), return_inverse=True)[1].astype(np.int64)

    return codes


# Name in `pack.match` → the columns of samples.parquet that it needs, and its value for each row
FACTS: dict[str, tuple[tuple[str, ...], Callable[[pa.Table], Values]]] = {
    "compression": (("compression",), _words("compression")),
    "face_px": (("face_px",), _widths),
    "frame_size": (("width", "height"), _frames),
}


def check_match(match: Sequence[str]) -> None:
    """Raise ConfigError if `pack.match` names an unknown fact, or one twice."""
    wrong = [name for name in match if name not in FACTS]
    if wrong or len(set(match)) < len(match):
        what = f"no such fact: {wrong[0]}" if wrong else "a fact is named twice"
        raise ConfigError(what, where="pack.match", fix=f"some of {', '.join(FACTS)}, or [] for none")


def columns_of(match: Sequence[str]) -> list[str]:
    """The columns of `samples.parquet` that the selection needs."""
    return ["key", "split", "label", *dict.fromkeys(column for name in match for column in FACTS[name][0])]


def matched(table: pa.Table, match: Sequence[str], seed: int) -> npt.NDArray[np.bool_]:
    """Which stored samples are selected, (N,).

    Args:
        table: stored samples with `columns_of(match)`; samples of one split are only compared with each other.
        match: names in `FACTS`.
        seed: `pack.seed`.

    Raises:
        ShardError: the table lacks a column.
    """
    missing = [name for name in columns_of(match) if name not in table.column_names]
    if missing:
        raise ShardError(f"the rows have no {missing[0]}", fix="build the shards again with this version")
    fake = np.asarray(table["label"].to_pylist(), dtype=object) == "fake"
    cell = _words("split")(table)
    for name in match:
        values = np.unique(FACTS[name][1](table), return_inverse=True)[1]
        cell = np.unique(cell * (values.max(initial=0) + 1) + values, return_inverse=True)[1].astype(np.int64)
    side = 2 * cell + fake
    counts = np.bincount(side, minlength=2 * (cell.max(initial=-1) + 1)).reshape(-1, 2)
    taken = counts.min(axis=1)[cell]
    chosen = counts[cell, fake.astype(np.int64)] <= taken  # whole sides
    open_ = np.flatnonzero(~chosen & (taken > 0))
    keys = table["key"].take(pa.array(open_)).to_pylist()
    order = np.lexsort(([_draw(seed, key) for key in keys], side[open_]))
    sides = side[open_][order]
    starts = np.flatnonzero(np.diff(sides, prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    chosen[open_[order[place < taken[open_][order]]]] = True
    return chosen


def _draw(seed: int, key: str) -> int:
    text = f"mrigan match 1|{seed}|{key}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1

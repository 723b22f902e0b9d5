"""Whether the splits of shard folders are separate: no family, clip or key is in two splits, over all folders.

A plan separates the families of its catalog, but folders may be from catalogs that were split in different ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mrigan.errors import ShardError
from mrigan.regular import reason, require_regular
from mrigan.shardset.layout import CLIP_KEY_LENGTH, Layout
from mrigan.shardset.rows import STORED

KINDS = {"family": "families", "clip": "clips", "key": "keys of clips"}
COLUMNS = ["split", *KINDS]
MAX_EXAMPLES = 3
FIX = "build all folders from one catalog (`mrigan catalog merge`, `audit`), so that each family has one split"


def check_separate(folders: Sequence[str | Path]) -> None:
    """Compare the samples in all splits of finished folders. 2.4 million samples take about two CPU-seconds.

    Raises:
        ShardError: a family, clip or key is in two splits; it counts them and names the first.
    """
    places: dict[tuple[str, str], tuple[str, Path]] = {}  # (kind, name) → split and folder that it was first seen in
    shared: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for folder in map(Path, folders):
        for split, *names in stored(folder):
            for kind, name in zip(KINDS, names, strict=True):
                first, where = places.setdefault((kind, name), (split, folder))
                if name and first != split:
                    shared[kind].setdefault(name, f"{name} in {first} of {where} and {split} of {folder}")
    if any(shared.values()):
        counts = ", ".join(f"{len(names)} {KINDS[kind]}" for kind, names in shared.items() if names)
        examples = next(list(names.values()) for names in shared.values() if names)
        raise ShardError(
            f"the splits are not separate: {counts} are in two splits; {'; '.join(examples[:MAX_EXAMPLES])}",
            where=", ".join(dict.fromkeys(map(str, folders))),
            fix=FIX,
        )


def stored(folder: Path) -> Iterator[tuple[str, ...]]:
    """The distinct (split, family, clip, key of the clip) of the samples in a finished folder."""
    dictionaries = ["split", "family", "clip", "status"]
    try:
        with pq.ParquetFile(require_regular(Layout(folder).samples), read_dictionary=dictionaries) as file:
            for number in range(file.num_row_groups):  # a table of millions of rows takes a few MiB at a time
                rows = file.read_row_group(number, columns=[*COLUMNS, "status"], use_threads=False)
                rows = rows.filter(pc.equal(rows["status"], STORED))
                keys = pc.utf8_slice_codeunits(rows["key"].combine_chunks(), 0, CLIP_KEY_LENGTH).dictionary_encode()
                rows = rows.set_column(rows.schema.get_field_index("key"), "key", keys)
                distinct = rows.group_by(COLUMNS, use_threads=False).aggregate([])
                yield from zip(*(distinct[name].to_pylist() for name in COLUMNS), strict=True)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ShardError(
            f"samples.parquet cannot be read: {reason(error).splitlines()[0]}",
            where=folder,
            fix=f"mrigan shards verify {folder}",
        ) from None

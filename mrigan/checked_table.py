"""Small Parquet tables that notice damage: a checksum of their rows stands in their own metadata.

Several processes may write such a file, at any time, and none holds its hash: so it proves itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrigan.checked_json import CHECKSUM
from mrigan.files import atomic_write, hash_json
from mrigan.regular import require_regular

if TYPE_CHECKING:
    import pyarrow as pa

CHECKED = "checked"  # a table that says so has a checksum, or has lost it


def write_checked_table(path: str | Path, table: pa.Table, name: str, about: Mapping[str, Any]) -> None:
    """Write a table, atomically, with what `about` says (JSON) in its metadata under `name`."""
    import pyarrow.parquet as pq

    about = {**about, CHECKED: True}
    text = json.dumps({**about, CHECKSUM: hash_json([about, table.to_pydict()])})
    with atomic_write(path) as file:
        pq.write_table(table.replace_schema_metadata({name: text}), file, compression="zstd", write_statistics=False)


def read_checked_table(path: str | Path, name: str) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """What `write_checked_table` wrote: the columns, and `about`; `about["checked"]` says whether a checksum proves it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged; says how.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(require_regular(path)) as file:
            table = file.read(use_threads=False)
        columns, metadata = table.to_pydict(), table.schema.metadata or {}
        about = json.loads(metadata.get(name.encode(), b"{}"))
        if not isinstance(about, dict):
            raise ValueError("its metadata is not a JSON object")
    except (pa.ArrowException, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no readable table ({error})") from None
    checksum = about.pop(CHECKSUM, None)
    if checksum is None and about.get(CHECKED, False) is not False:
        raise ValueError("it has lost its checksum")
    if checksum is not None and hash_json([about, columns]) != checksum:
        raise ValueError("its rows do not match the checksum in it: it was edited or damaged")
    return columns, {CHECKED: checksum is not None, **about}

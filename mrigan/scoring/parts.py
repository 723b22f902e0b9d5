"""The finished parts of a long evaluation, a file of scores each; an interrupted evaluation continues from them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mrigan.files import atomic_write, hash_json

log = logging.getLogger(__name__)

KEY = b"mrigan.identity"


class Parts:
    """A folder of Parquet files, each written atomically and valid only for one identity.

    Args:
        folder: created with the first part.
        identity: JSON values of everything that the parts depend on. Parts of another identity are computed again.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.identity = hash_json(dict(identity)).encode()

    def load(self, name: str) -> pa.Table | None:
        """The part `name`; None if it is missing, cannot be read, or has another identity."""
        path = self._path(name)
        if not path.is_file():
            return None
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            log.warning("%s cannot be read, and is computed again: %s", path, error)
            return None
        if (table.schema.metadata or {}).get(KEY) != self.identity:
            return None
        return table.replace_schema_metadata(None)

    def save(self, name: str, table: pa.Table) -> None:
        """Write a part; it is on the disk when this returns."""
        with atomic_write(self._path(name)) as file:
            pq.write_table(table.replace_schema_metadata({KEY: self.identity}), file, compression="zstd")

    def clear(self) -> None:
        """Remove all parts, after the result is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

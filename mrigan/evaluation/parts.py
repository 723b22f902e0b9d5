"""The finished parts of a long evaluation: a file of scores each, from which an interrupted one goes on."""

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
    """A folder of Parquet files, each whole or absent, that count only for the very work that they were made for.

    Args:
        folder: made when the first part is kept.
        identity: JSON values; all that the parts depend on. Parts of another identity are made again.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.identity = hash_json(dict(identity)).encode()

    def known(self, name: str) -> pa.Table | None:
        """The part called `name`; None where it is not there, cannot be read, or is of other work."""
        path = self._path(name)
        if not path.is_file():
            return None
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            log.warning("%s cannot be read and is made again: %s", path, error)
            return None
        if (table.schema.metadata or {}).get(KEY) != self.identity:
            return None
        return table.replace_schema_metadata(None)

    def keep(self, name: str, table: pa.Table) -> None:
        """Write a part; it is on the disk when this returns."""
        with atomic_write(self._path(name)) as file:
            pq.write_table(table.replace_schema_metadata({KEY: self.identity}), file, compression="zstd")

    def clear(self) -> None:
        """Remove them all: what they were for is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

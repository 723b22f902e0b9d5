"""The small files of a set at a URL, in a temporary folder of this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mrigan.errors import ShardError
from mrigan.files import temporary_path
from mrigan.shardset.layout import NAMES
from mrigan.shardset.leftovers import clean_folders
from mrigan.storage import Storage

PLAN = tuple(path.as_posix() for path in (NAMES.clips, NAMES.inputs, NAMES.plan))  # in the order they are written


@contextmanager
def mirror(storage: Storage, scratch: str | Path) -> Iterator[Path]:
    """A temporary folder with the plan of a set, if the set has one.

    Args:
        scratch: folder of this machine to create it in, "" = the system's.
    """
    parent = Path(scratch or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    clean_folders(parent)
    folder = temporary_path(parent / "mrigan-set")
    folder.mkdir()
    try:
        for name in set(PLAN) & storage.sizes().keys():
            storage.get(name, folder / name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_plan(folder: Path, url: str) -> None:
    """Raise ShardError if the mirror of a set has no plan."""
    if not (folder / NAMES.plan).is_file():
        raise ShardError("no shard plan there", where=url, fix=f"make one: mrigan shards plan CATALOG -o {url}")

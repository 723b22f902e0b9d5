"""The small files of a set at a URL, in a temporary folder of this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mrigan.files import temporary_path
from mrigan.shardset.layout import NAMES
from mrigan.shardset.leftovers import clean_folders
from mrigan.storage import RemoteFiles, reaching

PLAN = tuple(path.as_posix() for path in (NAMES.clips, NAMES.inputs, NAMES.plan))  # in the order they are written


@contextmanager
def mirror(files: RemoteFiles, scratch: str | Path) -> Iterator[Path]:
    """A temporary folder of this machine with the plan of a set, if it has one."""
    parent = Path(scratch or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    clean_folders(parent)
    folder = temporary_path(parent / "mrigan-set")
    folder.mkdir()
    try:
        with reaching(files.url):
            for name in set(PLAN) & files.sizes().keys():
                files.fetch(name, folder / name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

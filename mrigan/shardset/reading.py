"""A finished or unfinished set, to be looked at: in a folder, or at a URL.

The small files of a set at a URL (plan, tables, markers, indices) are copied to a temporary folder when they are asked
for, so that whoever looks at them need not know where they come from. Shards are not: they are read by ranges where an
object store gives them, else copied one by one, looked at, and dropped.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from mrigan.errors import ShardError
from mrigan.shardset.layout import NAMES, Layout
from mrigan.shardset.mirror import mirror
from mrigan.storage import RemoteFiles, folder_of, is_url, reaching

Read = Callable[[int, int], bytes]  # (bytes, offset) → at most so many bytes from there


class Reading(Protocol):
    """What a check must know of the place that a set lies in.

    Attributes:
        layout: of a folder of this machine with the small files that were brought.
        where: as a person calls the set.
    """

    layout: Layout
    where: str

    def bring_unit(self, unit: str) -> None:
        """Have the marker and the table of a unit in the folder, as far as they exist."""

    def bring_beside(self, shard: str) -> None:
        """Have the index and the sidecar of a shard there."""

    def bring_whole(self) -> None:
        """Have the manifest and the table of the whole set there."""

    def built(self, unit: str) -> bool:
        """Whether a unit has a marker."""

    def shards(self) -> list[str]:
        """The names of all tar files."""

    def size(self, shard: str) -> int | None:
        """Bytes of a shard, None where there is none."""

    def open(self, shard: str, whole: bool) -> AbstractContextManager[Read]:
        """Read in a shard: all of it, from front to back, or here and there. Raises OSError."""

    def faces(self) -> list[str]:
        """The names of the tables of detections in the set."""

    def open_faces(self, table: str) -> AbstractContextManager[Path]:
        """A table of detections as a file of this machine."""


class FolderReading:
    """A set in a folder: all is there."""

    def __init__(self, folder: Path) -> None:
        self.layout, self.where = Layout(folder), str(folder)

    def bring_unit(self, unit: str) -> None: ...

    def bring_beside(self, shard: str) -> None: ...

    def bring_whole(self) -> None: ...

    def built(self, unit: str) -> bool:
        return self.layout.unit_marker(unit).is_file()

    def shards(self) -> list[str]:
        return sorted(path.name for path in self.layout.root.glob("*.tar"))

    def size(self, shard: str) -> int | None:
        path = self.layout.shard(shard)
        return path.stat().st_size if path.is_file() else None

    @contextmanager
    def open(self, shard: str, whole: bool) -> Iterator[Read]:
        with open(self.layout.shard(shard), "rb", buffering=0) as file:
            yield lambda count, offset: os.pread(file.fileno(), count, offset)

    def faces(self) -> list[str]:
        return sorted(path.name for path in self.layout.faces.glob("*.parquet"))

    @contextmanager
    def open_faces(self, table: str) -> Iterator[Path]:
        yield self.layout.faces / table


class UrlReading:
    """A set at a URL, with a temporary folder for copies of its small files, and of one shard a thread at most."""

    def __init__(self, url: str, folder: Path) -> None:

        self.layout, self.where = Layout(folder), url
        self._files = threading.local()  # a connection a thread
        self._make = lambda: RemoteFiles(url)
        with reaching(url):
            self._sizes = self._here().sizes() | self._here().sizes("units")

    def bring_unit(self, unit: str) -> None:
        self._bring(self.layout.unit_marker(unit), self.layout.unit_rows(unit))

    def bring_beside(self, shard: str) -> None:
        self._bring(self.layout.index(shard), self.layout.sidecar(shard))

    def bring_whole(self) -> None:
        self._bring(self.layout.manifest, self.layout.samples)

    def built(self, unit: str) -> bool:
        return self._name(self.layout.unit_marker(unit)) in self._sizes

    def shards(self) -> list[str]:
        return sorted(name for name in self._sizes if name.endswith(".tar"))

    def size(self, shard: str) -> int | None:
        return self._sizes.get(shard)

    @contextmanager
    def open(self, shard: str, whole: bool) -> Iterator[Read]:
        if self._here().whole and not whole:
            yield lambda count, offset: self._part(shard, offset, offset + count)
            return
        copy = self.layout.shard(shard)
        try:
            self._bring(copy)
            with open(copy, "rb", buffering=0) as file:
                yield lambda count, offset: os.pread(file.fileno(), count, offset)
        finally:
            copy.unlink(missing_ok=True)

    def faces(self) -> list[str]:

        with reaching(self.where):
            self._sizes |= self._here().sizes("faces")
        return sorted(Path(name).name for name in self._sizes if name.startswith("faces/"))

    @contextmanager
    def open_faces(self, table: str) -> Iterator[Path]:
        copy = self.layout.faces / table
        try:
            self._bring(copy)
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def _part(self, shard: str, start: int, end: int) -> bytes:

        end = min(end, self._sizes[shard])
        with reaching(self.where):
            return self._here().part(shard, start, end - start) if start < end else b""

    def _bring(self, *paths: Path) -> None:

        with reaching(self.where):
            for path in paths:
                if self._name(path) in self._sizes and not path.exists():
                    self._here().fetch(self._name(path), path)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.layout.root).as_posix()

    def _here(self) -> RemoteFiles:
        """This thread's connection."""
        if not hasattr(self._files, "one"):
            self._files.one = self._make()
        files: RemoteFiles = self._files.one
        return files


@contextmanager
def reading(out: str | Path, scratch: str | Path = "") -> Iterator[Reading]:
    """The set in a folder or at a URL, to be looked at.

    Args:
        scratch: folder of this machine for copies, "" = the system's.

    Raises:
        ShardError: there is no plan, or nobody answers.
        ConfigError: fsspec does not know the URL, or a package is missing for it.
    """
    if not is_url(out):
        yield FolderReading(folder_of(out))
        return

    with mirror(RemoteFiles(str(out)), scratch) as folder:
        if not (folder / NAMES.plan).is_file():
            raise ShardError(
                "no shard plan there", where=str(out), fix=f"make one: mrigan shards plan CATALOG -o {out}"
            )
        yield UrlReading(str(out), folder)

"""A finished or unfinished set to inspect, in a folder or at a URL.

The small files of a set at a URL (plan, tables, markers, indices) are copied to a temporary folder when they are asked
for, so that code which inspects them need not know where they come from. Shards are not copied if ranges can be read
(object stores); otherwise they are copied one by one, inspected, and removed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mrigan.shardset.layout import Layout
from mrigan.shardset.mirror import mirror, require_plan
from mrigan.storage import Storage, folder_of, is_url

Read = Callable[[int, int], bytes]  # (bytes, offset) → at most so many bytes from there


class SetReader:
    """A set in a folder.

    Attributes:
        layout: of a folder of this machine with the small files that were brought.
        where: the folder or URL of the set, for messages.
    """

    def __init__(self, folder: Path, where: str | Path) -> None:
        self.layout, self.where = Layout(folder), str(where)

    def bring(self, *paths: Path) -> None:
        """Have these files of the layout in its folder, if they exist."""

    def bring_unit(self, unit: str) -> None:
        """Have the marker and the table of a unit in the folder."""
        self.bring(self.layout.unit_marker(unit), self.layout.unit_rows(unit))

    def bring_beside(self, shard: str) -> None:
        """Have the index and the sidecar of a shard in the folder."""
        self.bring(self.layout.index(shard), self.layout.sidecar(shard))

    def bring_whole(self) -> None:
        """Have the manifest and the table of the whole set in the folder."""
        self.bring(self.layout.manifest, self.layout.samples)

    def built(self, unit: str) -> bool:
        """Whether a unit has a marker."""
        return self.layout.unit_marker(unit).is_file()

    def shards(self) -> list[str]:
        """The names of all tar files."""
        return sorted(path.name for path in self.layout.root.glob("*.tar"))

    def size(self, shard: str) -> int | None:
        """Bytes of a shard, None if it does not exist."""
        path = self.layout.shard(shard)
        return path.stat().st_size if path.is_file() else None

    @contextmanager
    def open(self, shard: str, whole: bool) -> Iterator[Read]:
        """Read a shard: all of it from front to back, or some ranges. Raises OSError."""
        with open(self.layout.shard(shard), "rb", buffering=0) as file:
            yield lambda count, offset: os.pread(file.fileno(), count, offset)

    def faces(self) -> list[str]:
        """The names of the tables of detections in the set."""
        return sorted(path.name for path in self.layout.faces.glob("*.parquet"))

    @contextmanager
    def open_faces(self, table: str) -> Iterator[Path]:
        """A table of detections as a file of this machine."""
        yield self.layout.faces / table


class _UrlReader(SetReader):
    """A set at a URL, with a temporary folder for its small files and at most one shard a thread."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(folder, url)
        self._of_thread = threading.local()
        self._sizes = self._storage.sizes() | self._storage.sizes(self._name(self.layout.units))

    @property
    def _storage(self) -> Storage:
        """This thread's connection: not every protocol allows two requests at a time."""
        if not hasattr(self._of_thread, "storage"):
            self._of_thread.storage = Storage(self.where)
        storage: Storage = self._of_thread.storage
        return storage

    def bring(self, *paths: Path) -> None:
        for path in paths:
            if self._name(path) in self._sizes and not path.exists():
                self._storage.get(self._name(path), path)

    def built(self, unit: str) -> bool:
        return self._name(self.layout.unit_marker(unit)) in self._sizes

    def shards(self) -> list[str]:
        return sorted(name for name in self._sizes if name.endswith(".tar"))

    def size(self, shard: str) -> int | None:
        return self._sizes.get(shard)

    @contextmanager
    def open(self, shard: str, whole: bool) -> Iterator[Read]:
        if self._storage.is_object_store and not whole:
            yield lambda count, offset: self._range(shard, offset, min(offset + count, self._sizes[shard]))
            return
        with self._copied(self.layout.shard(shard)), super().open(shard, whole) as read:
            yield read

    def faces(self) -> list[str]:
        folder = self._name(self.layout.faces)
        self._sizes |= self._storage.sizes(folder)
        return sorted(Path(name).name for name in self._sizes if name.startswith(f"{folder}/"))

    @contextmanager
    def open_faces(self, table: str) -> Iterator[Path]:
        with self._copied(self.layout.faces / table) as copy:
            yield copy

    def _range(self, shard: str, start: int, end: int) -> bytes:
        return self._storage.read_range(shard, start, end - start) if start < end else b""

    @contextmanager
    def _copied(self, path: Path) -> Iterator[Path]:
        try:
            self.bring(path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.layout.root).as_posix()


@contextmanager
def open_set(out: str | Path, scratch: str | Path = "") -> Iterator[SetReader]:
    """The set in a folder or at a URL, to inspect.

    Args:
        scratch: folder of this machine for copies, "" = the system's.

    Raises:
        ShardError: there is no plan, or the server does not answer.
        ConfigError: fsspec does not know the URL, or a package is missing for it.
    """
    if not is_url(out):
        yield SetReader(folder_of(out), folder_of(out))
        return
    with mirror(Storage(str(out)), scratch) as folder:
        require_plan(folder, str(out))
        yield _UrlReader(str(out), folder)

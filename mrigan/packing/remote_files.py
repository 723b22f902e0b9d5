"""Files under a URL that fsspec knows: they appear whole, and names are relative to the URL.

An object store shows an object when all of it has arrived. Where a file grows under its name (FTP, SFTP, WebDAV ...),
it is sent under a temporary name first, the one that `mrigan.files` would give it here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from mrigan.errors import ConfigError, MriganError, ShardError
from mrigan.files import temporary_path, writer_is_gone
from mrigan.packing.workers import described

# Stores that show an object only when it is complete, and where renaming means copying
WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oss", "oci", "tos", "hf", "memory"}


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Say what a failure is about: each kind of file system has exceptions of its own."""
    try:
        yield
    except (MriganError, ImportError, ValueError):
        raise
    except Exception as error:
        raise ShardError(
            f"it cannot be reached: {described(error)}",
            where=url,
            fix="check the address, the network and the credentials; what was sent whole stays",
        ) from error


class RemoteFiles:
    """Files below one URL.

    Raises:
        ConfigError: fsspec does not know the protocol, or lacks the package for it.
        ShardError: nobody answers there.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self.url = url.rstrip("/")
        try:
            with reaching(self.url):
                self.fs, self.root = url_to_fs(self.url)
        except ImportError as error:
            raise ConfigError(f"a package is missing: {error}", where=url, fix="pip install it on each node") from None
        except ValueError as error:
            raise ConfigError(f"no place that can be written to: {error}", where=url) from None
        protocols = {self.fs.protocol} if isinstance(self.fs.protocol, str) else set(self.fs.protocol)
        self.whole = bool(protocols & WHOLE)
        self.one_process = "memory" in protocols

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Names of the files in a folder, without those below it, and their bytes; none where there is no folder."""
        self.fs.invalidate_cache()
        try:
            entries: list[dict[str, Any]] = self.fs.ls(self._path(folder), detail=True)
        except FileNotFoundError:
            return {}
        base = folder and f"{folder}/"
        return {base + PurePosixPath(entry["name"]).name: entry["size"] for entry in entries if entry["type"] == "file"}

    def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """What is in these files; those that are not there are left out."""
        paths = {self._path(name): name for name in names}
        if not paths:
            return {}
        found: dict[str, Any] = self.fs.cat(list(paths), on_error="return")
        for data in found.values():
            if isinstance(data, BaseException) and not isinstance(data, FileNotFoundError):
                raise data
        return {paths[path]: data for path, data in found.items() if isinstance(data, bytes)}

    def part(self, name: str, offset: int, count: int) -> bytes:
        """Some bytes of a file."""
        return bytes(self.fs.cat_file(self._path(name), start=offset, end=offset + count))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        self.fs.invalidate_cache()
        if self.fs.exists(self._path(name)):
            self.fs.rm_file(self._path(name))

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file to this machine.

        Raises:
            FileNotFoundError: it is not there.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.fs.get_file(self._path(name), str(path))

    def send(self, path: Path, name: str) -> None:
        """Copy a file of this machine to `name`, whole or not at all; one that is there is replaced."""
        final = self._path(name)
        if self.whole:
            self.fs.put_file(str(path), final)
            return
        self.fs.makedirs(self._parent(final), exist_ok=True)
        beside = str(PurePosixPath(self._parent(final), temporary_path(Path(PurePosixPath(final).name)).name))
        self.fs.put_file(str(path), beside)
        self.fs.invalidate_cache()
        if self.fs.exists(final):  # not every server renames over what is there
            self.fs.rm_file(final)
        self.fs.mv(beside, final)

    def write(self, name: str, data: bytes) -> None:
        """Make a small file."""
        if not self.whole:
            self.fs.makedirs(self._parent(self._path(name)), exist_ok=True)
        self.fs.pipe_file(self._path(name), data)

    def clean(self, *folders: str) -> None:
        """Remove what dead processes of this machine left half sent."""
        for folder in () if self.whole else folders:
            for name in self.sizes(folder):
                if name.endswith(".tmp") and writer_is_gone(Path(name)):
                    self.fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}" if name else self.root

    def _parent(self, path: str) -> str:
        return path.rpartition("/")[0]

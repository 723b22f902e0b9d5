"""Files below a URL. Names are relative to it.

An object store shows an object only when it is complete. On other servers (FTP, SFTP, WebDAV ...) a file grows under
its name, so it is sent under a temporary name first; see `mrigan.files`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from mrigan.errors import ConfigError, MriganError, ShardError, described
from mrigan.files import temporary_path, writer_is_gone
from mrigan.regular import reason, require_regular

CHUNK_BYTES = 4 << 20  # read at a time
MAX_SILENCE = 60  # seconds without a byte before a connection is given up
# Stores that show an object only when it is complete, and where renaming means copying
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oss", "oci", "tos", "hf", "memory"}


class UnreachableError(ShardError):
    """A server does not answer, or refuses; another try may succeed."""


class NoRangesError(Exception):
    """A file cannot be read from its middle on."""


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Raise any failure of a file system as an UnreachableError: each fsspec back end has its own exceptions."""
    try:
        yield
    except (MriganError, ImportError, ValueError):
        raise
    except Exception as error:
        raise UnreachableError(
            f"the URL cannot be reached: {described(error)}",
            where=url,
            fix="check the address, the network and the credentials; files that were sent completely are kept",
        ) from error


class Storage:
    """Files below one URL.

    If the server does not answer, methods raise UnreachableError; `read_once` and `chunks` raise what fsspec raises.

    Attributes:
        url: without a slash at its end.
        is_object_store: an object appears only when it is complete, and ranges are cheap to read.
        in_this_process: the files are in the memory of this process.

    Raises:
        ConfigError: fsspec does not know the protocol, or lacks the package for it.
        UnreachableError: the server does not answer.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        protocol = url.partition("://")[0] if "://" in url else "file"
        options: dict[str, Any] = {}
        if protocol in ("http", "https"):
            import aiohttp

            # aiohttp's default limit is for a whole file, which may take hours.
            timeout = aiohttp.ClientTimeout(None, sock_connect=MAX_SILENCE, sock_read=MAX_SILENCE)
            options["client_kwargs"] = {"timeout": timeout}
        try:
            with reaching(self.url):
                self._fs, self._root = fsspec.core.url_to_fs(self.url, **options)
        except (ImportError, ValueError) as error:
            fix = "install the package on each node" if isinstance(error, ImportError) else None
            raise ConfigError(f"{protocol}:// cannot be read here: {error}", where=url, fix=fix) from None
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self.is_object_store = bool(protocols & OBJECT_STORES)
        self.in_this_process = "memory" in protocols
        self._is_local = protocol in ("file", "local")
        self._streams = protocol in ("http", "https")

    def where(self, name: str) -> str:
        """The URL of a file."""
        return f"{self.url}/{name}"

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Names of the files in a folder, not in its subfolders, and their bytes; {} if there is no folder."""
        with reaching(self.url):
            self._fs.invalidate_cache()
            try:
                entries: list[dict[str, Any]] = self._fs.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return {}
        base = folder and f"{folder}/"
        return {base + PurePosixPath(entry["name"]).name: entry["size"] for entry in entries if entry["type"] == "file"}

    stamps = sizes

    def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of these files, without those that do not exist."""
        paths = {self._path(name): name for name in names}
        if not paths:
            return {}
        with reaching(self.url):
            contents: dict[str, Any] = self._fs.cat(list(paths), on_error="return")
            for data in contents.values():
                if isinstance(data, BaseException) and not isinstance(data, FileNotFoundError):
                    raise data
        return {paths[path]: data for path, data in contents.items() if isinstance(data, bytes)}

    def read_range(self, name: str, offset: int, count: int) -> bytes:
        """`count` bytes of a file from byte `offset` on."""
        with reaching(self.url):
            return bytes(self._fs.cat_file(self._path(name), start=offset, end=offset + count))

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        with reaching(self.url):
            self._fs.invalidate_cache()
            if self._fs.exists(self._path(name)):
                self._fs.rm_file(self._path(name))

    def get(self, name: str, path: Path) -> None:
        """Copy a file to `path` on this machine."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with reaching(self.url):
            self._fs.get_file(self._path(name), str(path))

    def put(self, path: Path, name: str) -> None:
        """Copy a file of this machine to `name`, whole or not at all; an existing one is replaced."""
        target = self._path(name)
        with reaching(self.url):
            if self.is_object_store:
                self._fs.put_file(str(path), target)
                return
            parent = target.rpartition("/")[0]
            self._fs.makedirs(parent, exist_ok=True)
            beside = str(PurePosixPath(parent, temporary_path(Path(PurePosixPath(target).name)).name))
            self._fs.put_file(str(path), beside)
            self._fs.invalidate_cache()
            if self._fs.exists(target):  # not every server renames over an existing file
                self._fs.rm_file(target)
            self._fs.mv(beside, target)

    def clean(self, *folders: str) -> None:
        """Remove the temporary files of dead processes of this machine."""
        for folder in () if self.is_object_store else folders:
            for name in self.sizes(folder):
                if name.endswith(".tmp") and writer_is_gone(Path(name)):
                    self.remove(name)

    def read_once(self, name: str) -> bytes:
        """The contents of a small file; every failure is raised as it is."""
        return bytes(self._fs.cat_file(self._regular(name)))

    def chunks(self, name: str, start: int) -> Iterator[bytes]:
        """The bytes of a file from `start` on.

        Raises:
            NoRangesError: the server cannot start in the middle of a file.
        """
        options: dict[str, Any] = {"block_size": CHUNK_BYTES, "cache_type": "none"}
        if self._streams:  # one request for all that is missing
            options = {"block_size": 0} | ({"headers": {"Range": f"bytes={start}-"}} if start else {})
        with self._fs.open(self._regular(name), "rb", **options) as file:
            if start and self._streams and file.r.status != 206:
                raise NoRangesError("the server does not support ranges")
            if start and not self._streams:
                file.seek(start)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}" if name else self._root

    def _regular(self, name: str) -> str:
        """The path of a file that is not a named pipe or a device, from which a read may never return."""
        path = self._path(name)
        try:
            return str(require_regular(path)) if self._is_local else path
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            fix = "verify the set at its source: mrigan shards verify"
            raise ShardError(f"cannot be fetched: {reason(error)}", where=self.where(name), fix=fix) from None

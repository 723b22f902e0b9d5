"""Files under a URL that fsspec knows: they appear whole, and names are relative to the URL.

An object store shows an object when all of it has arrived. Where a file grows under its name (FTP, SFTP, WebDAV ...),
it is sent under a temporary name first, the one that `mrigan.files` would give it here.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from mrigan.errors import ConfigError, MriganError, ShardError, described
from mrigan.files import failpoint, not_writable, sync_folder, temporary_path, writer_is_gone
from mrigan.regular import reason, require_regular

log = logging.getLogger(__name__)
CHUNK = 4 << 20  # bytes a read
TRIES = 5  # in a row without a byte
PAUSE = 1.0  # seconds after the first failure, twice as long after each further one
QUIET = 60  # seconds without a byte, after which a connection is given up
LOCAL = "file://"
# Stores that show an object only when it is complete, and where renaming means copying
WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oss", "oci", "tos", "hf", "memory"}


def is_url(out: str | Path) -> bool:
    """Whether `out` names no folder but a place that fsspec knows: `s3://bucket/set`."""
    return "://" in str(out) and not str(out).startswith(LOCAL)


def folder_of(out: str | Path) -> Path:
    """The folder that a path or a file:// URL names."""
    return Path(str(out).removeprefix(LOCAL))


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


class Source:
    """A folder somewhere: a path or a URL that fsspec knows.

    Raises:
        ConfigError: nobody knows the protocol, or the package for it is missing.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        protocol = url.partition("://")[0] if "://" in url else "file"
        options: dict[str, Any] = {}
        if protocol in ("http", "https"):
            import aiohttp

            # aiohttp's own limit is for a whole file, which may take hours.
            options["client_kwargs"] = {"timeout": aiohttp.ClientTimeout(None, sock_connect=QUIET, sock_read=QUIET)}
        try:
            self._system, self._root = fsspec.core.url_to_fs(self.url, **options)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{protocol}:// cannot be read here: {error}", where=url) from None
        self._is_local = protocol in ("file", "local")
        self._streams = protocol in ("http", "https")

    def where(self, name: str) -> str:
        """The URL of a file in the folder."""
        return f"{self.url}/{name}"

    def read(self, name: str) -> bytes:
        """A small file.

        Raises:
            ShardError: it is not there, or cannot be had in `TRIES` tries.
        """
        tries = _Tries(self.where(name))
        while True:
            try:
                return bytes(self._system.cat_file(self._path(name)))
            except _failures() as error:
                tries.failed(error)

    def chunks(self, name: str, start: int) -> Iterator[bytes]:
        """The bytes of a file from `start` on.

        Raises:
            ValueError: it can be read from its beginning only.
        """
        options: dict[str, Any] = {"block_size": CHUNK, "cache_type": "none"}
        if self._streams:  # one request for all that is missing
            options = {"block_size": 0} | ({"headers": {"Range": f"bytes={start}-"}} if start else {})
        with self._system.open(self._path(name), "rb", **options) as file:
            if start and self._streams and file.r.status != 206:
                raise ValueError("the server knows no ranges")
            if start and not self._streams:
                file.seek(start)
            while chunk := file.read(CHUNK):
                yield chunk

    def _path(self, name: str) -> str:
        path = f"{self._root}/{name}"
        try:
            return str(require_regular(path)) if self._is_local else path
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            fix = "verify the set at its source: mrigan shards verify"
            raise ShardError(f"cannot be fetched: {reason(error)}", where=self.where(name), fix=fix) from None


def fetch(
    source: Source, name: str, target: Path, *, size: int, sha256: str, advance: Callable[[int], None] | None = None
) -> None:
    """Bring a file to `target`. What came before a failure stays in `.NAME.part`, and the next call goes on there.

    Args:
        size: bytes that it must have, with the hash `sha256`.
        advance: is told how many bytes have come; negative where they were wrong and come again.

    Raises:
        ShardError: it is not there, the connection fails `TRIES` times in a row, or the bytes are wrong twice.
        OutputError: this disk is full.
    """
    told = advance or (lambda _: None)
    part = partial_path(target)
    tries = _Tries(source.where(name))
    wrong = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        if have > size:
            part.unlink()
            told(-have)
            have = 0
        try:
            chunks = source.chunks(name, have) if have < size else iter(())
            digest = _append(chunks, part, tries, told)
        except ValueError:  # no ranges: from the beginning
            part.unlink()
            told(-have)
            continue
        except _failures() as error:
            tries.failed(error)
            continue
        length = part.stat().st_size
        if (length, digest) == (size, sha256):
            break
        part.unlink()
        told(-length)
        wrong += 1
        if wrong == 2:
            raise ShardError(
                f"what came twice is not what the manifest promises: {length} bytes of {size}, SHA-256 {digest[:12]}… "
                f"in place of {sha256[:12]}…",
                where=source.where(name),
                fix="verify the set at its source: mrigan shards verify, or build the shard again",
            )
        log.warning("%s came damaged and is fetched again", source.where(name))
    failpoint("fetch.whole", target.name)
    os.replace(part, target)
    failpoint("fetch.there", target.name)
    sync_folder(target.parent)


def partial_path(target: Path) -> Path:
    """Where a file lies until all of it is there."""
    return target.parent / f".{target.name}.part"


def _append(chunks: Iterator[bytes], part: Path, tries: _Tries, told: Callable[[int], None]) -> str:
    """Append what is missing, on disk when it returns; the hash of the whole."""
    digest = hashlib.sha256()
    with open(part, "a+b", buffering=0) as file:  # what came is there, whatever happens next
        file.seek(0)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
        for chunk in chunks:
            try:
                file.write(chunk)
                failpoint("fetch.part")
            except OSError as error:  # of this disk, not of the connection: no use to try again
                raise not_writable(part, error) from None
            digest.update(chunk)
            told(len(chunk))
            tries.went_on()
        os.fsync(file.fileno())
    return digest.hexdigest()


class _Tries:
    """Failures in a row, and the pauses between them."""

    def __init__(self, where: str) -> None:
        self.where, self.count = where, 0

    def went_on(self) -> None:
        self.count = 0

    def failed(self, error: BaseException) -> None:
        """Wait before the next try, or give up.

        Raises:
            ShardError: it is no use.
        """
        # fsspec says "not found" of a server that is down, too; then the cause tells.
        cause = error.__cause__
        if isinstance(error, FileNotFoundError) and (cause is None or getattr(cause, "status", None) == 404):
            raise ShardError("no such file", where=self.where, fix="look at data.shards") from None
        self.count += 1
        if self.count >= TRIES:
            raise ShardError(
                f"cannot be fetched, after {TRIES} tries: {error or type(error).__name__}",
                where=self.where,
                fix="see whether the server is up; what has come is kept, so start again",
            ) from error
        log.info("%s: %r; trying again", self.where, error)
        time.sleep(PAUSE * 2 ** (self.count - 1))


def _failures() -> tuple[type[BaseException], ...]:
    """What a connection may end with."""
    import aiohttp

    return OSError, aiohttp.ClientError, TimeoutError

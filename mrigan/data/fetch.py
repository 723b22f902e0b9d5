"""One file from anywhere (http, S3, a shared folder) to local disk: continued where it broke off, checked, atomic."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mrigan.errors import ConfigError, ShardError
from mrigan.files import failpoint, not_writable, sync_folder
from mrigan.regular import reason, require_regular

log = logging.getLogger(__name__)
CHUNK = 4 << 20  # bytes a read
TRIES = 5  # in a row without a byte
PAUSE = 1.0  # seconds after the first failure, twice as long after each further one
QUIET = 60  # seconds without a byte, after which a connection is given up


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

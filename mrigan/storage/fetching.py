"""One file from a URL to a local disk: continued where it broke off, checked, atomic."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from mrigan.errors import ShardError
from mrigan.files import failpoint, not_writable, sync_folder
from mrigan.storage.urls import CHUNK_BYTES, NoRangesError

log = logging.getLogger(__name__)
MAX_TRIES = 5  # in a row without a byte
FIRST_PAUSE = 1.0  # seconds after the first failure; doubled after each further one


class Readable(Protocol):
    """A place to read from: `Storage`, or `PipeStorage`; see there for the methods."""

    @property
    def url(self) -> str: ...
    def where(self, name: str) -> str: ...
    def read_once(self, name: str) -> bytes: ...
    def chunks(self, name: str, start: int) -> Iterator[bytes]: ...


def read_patiently(storage: Readable, name: str) -> bytes:
    """A small file, in at most `MAX_TRIES` tries.

    Raises:
        ShardError: it does not exist, or cannot be read.
    """
    tries = Tries(storage.where(name))
    while True:
        try:
            return storage.read_once(name)
        except failures() as error:
            tries.failed(error)


def fetch(
    storage: Readable, name: str, target: Path, *, size: int, sha256: str, advance: Callable[[int], None] | None = None
) -> None:
    """Copy a file to `target`, checked. After a failure `.NAME.part` is kept, and the next call continues it.

    Args:
        size: bytes of the file. sha256: of the file.
        advance: called with the number of new bytes; negative if bytes were wrong and are fetched again.

    Raises:
        ShardError: the file does not exist, the connection fails `MAX_TRIES` times in a row, or the bytes are wrong
            twice.
        OutputError: this disk is full.
    """
    report = advance or (lambda _: None)
    part = partial_path(target)
    tries = Tries(storage.where(name))
    mismatches = 0
    while True:
        present = part.stat().st_size if part.exists() else 0
        if present > size:
            part.unlink()
            report(-present)
            present = 0
        try:
            chunks = storage.chunks(name, present) if present < size else iter(())
            digest = _append(chunks, part, tries, report)
        except NoRangesError:  # from the beginning
            part.unlink()
            report(-present)
            continue
        except failures() as error:
            tries.failed(error)
            continue
        length = part.stat().st_size
        if (length, digest) == (size, sha256):
            break
        part.unlink()
        report(-length)
        mismatches += 1
        if mismatches == 2:
            raise ShardError(
                f"the file is not what the manifest promises, in two tries: {length} of {size} bytes, SHA-256 "
                f"{digest[:12]}… instead of {sha256[:12]}…",
                where=storage.where(name),
                fix="verify the set at its source: mrigan shards verify, or build the shard again",
            )
        log.warning("%s arrived damaged; fetching it again", storage.where(name))
    failpoint("fetch.whole", target.name)
    os.replace(part, target)
    failpoint("fetch.there", target.name)
    sync_folder(target.parent)


def partial_path(target: Path) -> Path:
    """The path of a file until it is complete."""
    return target.parent / f".{target.name}.part"


def _append(chunks: Iterator[bytes], part: Path, tries: Tries, report: Callable[[int], None]) -> str:
    """Append what is missing, on disk when it returns; the SHA-256 of the whole."""
    digest = hashlib.sha256()
    with open(part, "a+b", buffering=0) as file:  # unbuffered: what arrived stays, whatever happens next
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
        for chunk in chunks:
            try:
                file.write(chunk)
                failpoint("fetch.part")
            except OSError as error:  # of this disk, not of the connection: another try would not help
                raise not_writable(part, error) from None
            digest.update(chunk)
            report(len(chunk))
            tries.succeeded()
        os.fsync(file.fileno())
    return digest.hexdigest()


class Tries:
    """Failures in a row, and the pauses between them."""

    def __init__(self, where: str) -> None:
        self.where, self.count = where, 0

    def succeeded(self) -> None:
        self.count = 0

    def failed(self, error: BaseException) -> None:
        """Wait before the next try, or raise ShardError if there is none."""
        # fsspec reports "not found" for a server that is down, too; then the cause differs.
        cause = error.__cause__
        if isinstance(error, FileNotFoundError) and (cause is None or getattr(cause, "status", None) == 404):
            raise ShardError("no such file", where=self.where, fix="check data.shards") from None
        self.count += 1
        if self.count >= MAX_TRIES:
            raise ShardError(
                f"cannot be fetched, after {MAX_TRIES} tries: {error or type(error).__name__}",
                where=self.where,
                fix="check that the server is up; what arrived is kept, so start again",
            ) from error
        log.info("%s: %r; trying again", self.where, error)
        time.sleep(FIRST_PAUSE * 2 ** (self.count - 1))


def failures() -> tuple[type[BaseException], ...]:
    """What a connection may end with. Some of fsspec's back ends raise ValueError for what a server answers."""
    import aiohttp

    return OSError, aiohttp.ClientError, TimeoutError, ValueError

"""A file read from front to back, continued where the connection broke."""

from __future__ import annotations

import io
from collections.abc import Iterator

from mrigan.storage.fetching import Readable, Tries, failures
from mrigan.storage.folder import is_url
from mrigan.storage.pipe import PIPE, PipeStorage
from mrigan.storage.urls import CHUNK_BYTES, NoRangesError, Storage


def is_remote(folder: object) -> bool:
    """Whether a shard folder is behind a URL or a command, and not a folder of this machine."""
    return is_url(str(folder)) or str(folder).startswith(PIPE)


def open_storage(url: str) -> Readable:
    """The folder that a path, a URL or `pipe:COMMAND` names.

    A command runs in a shell, so never pass a string that was read from a file: only what the user wrote.
    """
    return PipeStorage(url) if url.startswith(PIPE) else Storage(url)


def open_stream(storage: Readable, name: str, stop: int, start: int = 0) -> io.BufferedReader:
    """Bytes `start` … `stop - 1` of a file, for reading from front to back.

    Reading raises:
        ShardError: the file does not exist or ends before, or the connection failed several times in a row.
    """
    return io.BufferedReader(_Stream(storage, name, stop, start), CHUNK_BYTES)


class _Stream(io.RawIOBase):
    def __init__(self, storage: Readable, name: str, stop: int, start: int) -> None:
        self._storage, self._name, self._stop = storage, name, stop
        self._tries = Tries(storage.where(name))
        self._chunks: Iterator[bytes] | None = None
        self._rest = memoryview(b"")  # of the newest chunk
        self._position = start  # of the next chunk

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest and self._position < self._stop:
            try:
                if self._chunks is None:
                    self._chunks = self._from(self._position)
                chunk = next(self._chunks, None)
                if chunk is None:
                    raise OSError(f"it ended after {self._position} of {self._stop} bytes")
            except failures() as error:
                self._chunks = None
                self._tries.failed(error)
                continue
            self._tries.succeeded()
            self._rest = memoryview(chunk)[: self._stop - self._position]
            self._position += len(self._rest)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _from(self, start: int) -> Iterator[bytes]:
        """The file's bytes from `start` on, read again from the beginning if the storage cannot start there."""
        chunks = self._storage.chunks(self._name, start)
        try:
            first = next(chunks, None)
        except NoRangesError:
            chunks, skip = self._storage.chunks(self._name, 0), start
            for first in chunks:
                if len(first) > skip:
                    yield first[skip:]
                    break
                skip -= len(first)
        else:
            if first is None:
                return
            yield first
        yield from chunks

    def close(self) -> None:
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            chunks.close()  # type: ignore[attr-defined]
        super().close()

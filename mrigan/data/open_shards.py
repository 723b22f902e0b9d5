"""Tars open for reading: bounded in number, shared by any number of threads."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

from mrigan.errors import ShardError
from mrigan.shardset.folder import Shard, verify, wrong_size
from mrigan.storage import Readable, open_storage, open_stream

MAX_OPEN = 256  # shards; a process may usually have 1,024 open files
READ_AHEAD = 16 << 20  # bytes that the kernel is asked to read before they are needed, if a shard is read in order


class OpenShards:
    """Positioned reads from tars. The `max_open` tars that were used last stay open.

    If a file must be closed while another thread reads from it, it closes after that read.

    Args:
        ahead: shards are read from front to back: ask the kernel to read `READ_AHEAD` bytes in advance.
    """

    def __init__(self, shards: list[Shard], max_open: int = MAX_OPEN, ahead: bool = False) -> None:
        self.max_open, self.ahead = max_open, ahead
        self._shards = shards
        self._storages: dict[str, Readable] = {}
        self._open: OrderedDict[int, _File] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def read(self, number: int, start: int, count: int) -> bytes:
        """`count` bytes of shard `number` from byte `start` on; fewer where it ends.

        Raises:
            ShardError: the shard is missing, or its size has changed since it was written.
            OSError: storage fails.
        """
        shard = self._shards[number]
        if shard.source:
            end = min(start + count, shard.size)
            with open_stream(self._storage(shard.source), shard.path.name, end, start) as stream:
                return stream.read()
        with self._lock:
            file = self._open.get(number)
            if file is None:
                file = _File(shard)
                while len(self._open) >= self.max_open:
                    self._open.popitem(last=False)
                self._open[number] = file
            elif len(self._open) >= self.max_open:  # else none will be closed
                self._open.move_to_end(number)
            if self.ahead and start + count > file.fetched - READ_AHEAD // 2:
                file.fetch(start)
        return os.pread(file.descriptor, count, start)

    def fresh(self) -> OpenShards:
        """The same, with nothing open."""
        return OpenShards(self._shards, self.max_open, self.ahead)

    def close(self) -> None:
        """Close the shards; reading opens them again."""
        with self._lock:
            self._open.clear()

    def _storage(self, url: str) -> Readable:
        with self._lock:
            if url not in self._storages:
                self._storages[url] = open_storage(url)
            return self._storages[url]


class _File:
    """An open tar; closes with its last reference."""

    descriptor = -1
    fetched = 0  # bytes from the start that the kernel was asked for

    def __init__(self, shard: Shard) -> None:
        try:
            self.descriptor = os.open(shard.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ShardError(
                f"the shard cannot be opened: {error.strerror}", where=shard.path, fix=verify(shard.path.parent)
            ) from None
        size = os.fstat(self.descriptor).st_size
        if size != shard.size:
            raise wrong_size(shard.path, size, shard.size)

    def fetch(self, start: int) -> None:
        begin = max(start, self.fetched)
        os.posix_fadvise(self.descriptor, begin, READ_AHEAD, os.POSIX_FADV_WILLNEED)
        self.fetched = begin + READ_AHEAD

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

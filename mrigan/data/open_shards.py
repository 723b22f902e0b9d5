"""Tars open for reading: bounded in number, shared by any number of threads."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

from mrigan.errors import ShardError
from mrigan.shardset.folder import Shard, verify, wrong_size

MOST = 256  # shards open at a time; 1,024 files a process is the usual limit
AHEAD = 16 << 20  # bytes that the kernel is asked to fetch ahead of a front that moves through a shard


class OpenShards:
    """Positioned reads from tars, of which the `most` that were used last stay open.

    A file that must go while another thread reads from it closes after that read.

    Args:
        ahead: shards are read from front to back: have the kernel fetch `AHEAD` bytes before they are asked for.
    """

    def __init__(self, shards: list[Shard], most: int = MOST, ahead: bool = False) -> None:
        self.most, self.ahead = most, ahead
        self._shards = shards
        self._open: OrderedDict[int, _File] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def read(self, number: int, start: int, count: int) -> bytes:
        """`count` bytes of shard `number` from byte `start` on; fewer where it ends.

        Raises:
            ShardError: the shard is gone, or its size is not the one that it was written with.
            OSError: storage fails.
        """
        with self._lock:
            file = self._open.get(number)
            if file is None:
                file = _File(self._shards[number])
                while len(self._open) >= self.most:
                    self._open.popitem(last=False)
                self._open[number] = file
            elif len(self._open) >= self.most:  # else none has to go
                self._open.move_to_end(number)
            if self.ahead and start + count > file.fetched - AHEAD // 2:
                file.fetch(start)
        return os.pread(file.descriptor, count, start)

    def close(self) -> None:
        """Close the shards; reading opens them again."""
        with self._lock:
            self._open.clear()


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
        os.posix_fadvise(self.descriptor, begin, AHEAD, os.POSIX_FADV_WILLNEED)
        self.fetched = begin + AHEAD

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

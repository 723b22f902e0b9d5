"""One process of a node does the work while the others wait; the time without progress is limited."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mrigan.errors import MriganError, ShardError
from mrigan.files import write_json

MAX_STALL_S = 900.0  # without progress
POLL_S = 0.2


@contextmanager
def one_on_the_node(folder: Path) -> Iterator[Callable[[], None]]:
    """Hold `folder/.lock`, alone on this machine; the lock dies with its process.

    Yields:
        A function that the holder calls to report progress to the waiting processes.

    Raises:
        ShardError: the holder made no progress for `MAX_STALL_S` seconds. Or it failed while this process waited; then
            with its error, so that the ranks do not try the same in vain, one after another.
    """
    path, failed = folder / ".lock", folder / ".failed.json"
    # A POSIX record lock: forked loader workers, which outlive a kill -9, do not inherit it.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        begun = time.time()
        waited = _acquire(descriptor, path)
        if waited and failed.exists() and failed.stat().st_mtime >= begun:
            raise _error(failed)
        failed.unlink(missing_ok=True)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        last = [0.0]

        def beat() -> None:
            if time.monotonic() - last[0] > 1:
                last[0] = time.monotonic()
                os.utime(path)

        try:
            yield beat
        except MriganError as error:
            where = None if error.where is None else str(error.where)
            write_json(failed, {"what": error.what, "where": where, "fix": error.fix})
            raise
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> bool:
    """Wait for the lock. Returns whether another process held it."""
    waited = False
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            waited = True
        else:
            return waited
        quiet = time.time() - path.stat().st_mtime
        if quiet > MAX_STALL_S:
            raise ShardError(
                f"process {os.pread(descriptor, 20, 0).decode()} of this node stages the shards and has stood still "
                f"for {quiet:.0f} seconds",
                where=path.parent,
                fix="find what it waits for; end it and start again: what has arrived is kept",
            )
        time.sleep(POLL_S)


def _error(failed: Path) -> ShardError:
    content = json.loads(failed.read_bytes())
    return ShardError(content["what"], where=content["where"], fix=content["fix"])

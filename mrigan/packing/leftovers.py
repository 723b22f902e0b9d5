"""Temporary files that a killed build left behind, and how not to take those of a build that is still alive."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mrigan.packing.layout import Layout

log = logging.getLogger(__name__)


@contextmanager
def builder(layout: Layout) -> Iterator[None]:
    """Hold the shard folder as one of its builders; remove leftovers before and after, unless others build there too.

    Builders share a lock on plan.json; who can have it alone is the only one. Two builders do no harm: what they
    write is the same and appears by renaming. The detections are cleaned only where they lie in the folder itself.
    """
    with hold(layout) as file:
        _clean(layout, file)
        try:
            yield
        finally:
            _clean(layout, file)


def hold(layout: Layout) -> IO[bytes]:
    """The shared lock alone, held until the file is closed: nobody cleans while an orphaned worker still writes."""
    file = open(layout.plan, "rb")  # noqa: SIM115 (stays open)
    _lock(file, fcntl.LOCK_SH)
    return file


def leftovers(layout: Layout) -> list[Path]:
    """Temporary files in the shard folder."""
    return [path for folder in (layout.root, layout.units, layout.faces) for path in sorted(folder.glob(".*.tmp"))]


def _clean(layout: Layout, file: IO[bytes]) -> None:
    if _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for path in leftovers(layout):
            log.info("removed %s, left by a build that was killed", path)
            path.unlink(missing_ok=True)
    _lock(file, fcntl.LOCK_SH)  # a conversion that fails gives the old lock up, too


def _lock(file: IO[bytes], how: int) -> bool:
    try:
        fcntl.flock(file, how)
    except OSError as error:  # another builder, or a file system without locks
        log.debug("%s is not locked: %s", file.name, error)
        return False
    return True

"""Temporary files that a killed build left behind, and how not to take those of a build that is still alive.

A file's name says which process writes it, in which process space (see `mrigan.files.temporary_path`). A dead process
of this machine writes no more. What another machine's processes do cannot be seen from here, and no lock tells it
reliably either: many clusters mount their network file systems with locks that hold on one host only. There, only age
decides.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from os import fstat
from pathlib import Path

from mrigan.errors import ShardError
from mrigan.files import writer_is_gone
from mrigan.regular import reason, require_regular
from mrigan.shardset.layout import Layout

log = logging.getLogger(__name__)

SUFFIXES = (".json", ".parquet", ".tar", ".idx")  # of a set's files
OLD = 24 * 3600.0  # seconds; a living builder writes to its temporary files much more often


def clean(layout: Layout) -> None:
    """Remove what dead builders left in a shard folder. Builders that are alive, here or elsewhere, lose nothing."""
    clean_folders(layout.root, layout.units, layout.faces, layout.log)


def clean_folders(*folders: Path) -> None:
    """Remove temporary files and folders whose writer is dead, or which nobody has written to for a day."""
    for path in _temporary(*folders):
        try:
            if writer_is_gone(path) or _now(path.parent) - path.stat().st_mtime > OLD:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                log.info("removed %s, left by a build that was killed", path)
        except FileNotFoundError:
            continue  # its writer, or another cleaner, was quicker
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            log.info("%s, left by a build, stays: the folder cannot be written to", path)


def refuse_special_files(layout: Layout) -> None:
    """Raise ShardError where a pipe, a device or a folder has the name of one of a set's files: it would swallow what
    is written, or wait for ever."""
    for folder in (layout.root, layout.units, layout.faces, layout.log):
        path = folder
        try:
            others = [entry for entry in os.scandir(folder) if not entry.is_file(follow_symlinks=False)]
            for path in (folder / entry.name for entry in others if entry.name.endswith(SUFFIXES)):
                if path.exists():  # else a link to what is not there yet
                    require_regular(path)
        except (FileNotFoundError, PermissionError):
            continue  # not there yet; what may not be read is said by who reads it
        except OSError as error:
            raise ShardError(
                f"{path.name} cannot be used: {reason(error)}",
                where=path,
                fix=f"remove it, then mrigan shards repair {layout.root} --only-failed",
            ) from None


def leftovers(layout: Layout) -> list[Path]:
    """Temporary files in the shard folder, of whomever."""
    return list(_temporary(layout.root, layout.units, layout.faces, layout.log))


def _temporary(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.glob(".*.tmp"))


def _now(folder: Path) -> float:
    """The time by the clock of the file system that `folder` lies on: a file server's may differ from ours."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return fstat(file.fileno()).st_mtime

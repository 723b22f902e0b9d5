"""Temporary files of killed builds, which must not be confused with those of running builds.

A file's name says which process writes it, in which PID namespace (see `mrigan.files.temporary_path`), so it is known
whether a process of this machine is dead. Processes of other machines cannot be seen, and locks do not help: many
clusters mount network file systems with locks that hold on one host only. For those, only age decides.
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
MAX_AGE = 24 * 3600.0  # seconds; a running build writes to its temporary files much more often


def clean(layout: Layout) -> None:
    """Remove what killed builds left in a shard folder. Running builds, here or elsewhere, lose nothing."""
    clean_folders(layout.root, layout.units, layout.faces, layout.log)


def clean_folders(*folders: Path) -> None:
    """Remove temporary files and folders whose writer is dead, or that were not written to for a day."""
    for path in _temporary(*folders):
        try:
            if writer_is_gone(path) or _now(path.parent) - path.stat().st_mtime > MAX_AGE:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                log.info("removed %s, left by a killed build", path)
        except FileNotFoundError:
            continue  # removed meanwhile by its writer or another builder
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            log.info("%s, left by a build, is kept: the folder cannot be written to", path)


def refuse_special_files(layout: Layout) -> None:
    """Raise ShardError if a pipe, a device or a folder has the name of one of a set's files: it would swallow what is
    written, or block for ever."""
    for folder in (layout.root, layout.units, layout.faces, layout.log):
        path = folder
        try:
            others = [entry for entry in os.scandir(folder) if not entry.is_file(follow_symlinks=False)]
            for path in (folder / entry.name for entry in others if entry.name.endswith(SUFFIXES)):
                if path.exists():  # else a broken link
                    require_regular(path)
        except (FileNotFoundError, PermissionError):
            continue  # missing, or not readable, which its reader reports
        except OSError as error:
            raise ShardError(
                f"{path.name} cannot be used: {reason(error)}",
                where=path,
                fix=f"remove it, then mrigan shards repair {layout.root} --only-failed",
            ) from None


def leftovers(layout: Layout) -> list[Path]:
    """All temporary files in the shard folder."""
    return list(_temporary(layout.root, layout.units, layout.faces, layout.log))


def _temporary(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.glob(".*.tmp"))


def _now(folder: Path) -> float:
    """The time by the clock of the file system of `folder`: a file server's clock may differ from this machine's."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return fstat(file.fileno()).st_mtime

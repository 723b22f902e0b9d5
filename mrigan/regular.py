"""What is read is a regular file: a named pipe waits for its writer, and a device may never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 256 << 20  # of a file that is read whole: a list of all units of the largest set takes a tenth of it
KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: str | Path, max_bytes: int | None = None) -> BinaryIO:
    """Open a regular file for reading, without waiting for anybody; anything else is refused. A link is followed.

    Args:
        max_bytes: that the file may have; None = any number.

    Raises:
        OSError: it cannot be opened, is no regular file, or is larger.
    """
    _refuse_others(os.stat(path), path)  # before it is opened: a device may act on that
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb")
    try:
        status = os.fstat(file.fileno())
        _refuse_others(status, path)  # another file may have taken its place
        if max_bytes is not None and status.st_size > max_bytes:
            what = f"{status.st_size:,} bytes, and at most {max_bytes:,} are read"
            raise OSError(errno.EFBIG, what, os.fspath(path))
    except OSError:
        file.close()
        raise
    return file


def _refuse_others(status: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"not a regular file but {kind}", os.fspath(path))


def require_regular(path: str | Path) -> str | Path:
    """The path itself, for libraries that open a file by its name.

    Raises:
        OSError: it does not exist, or is not a regular file.
    """
    _refuse_others(os.stat(path), path)
    return path


def read_regular(path: str | Path) -> bytes:
    """All bytes of a regular file of at most `MAX_BYTES`.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger.
    """
    with open_regular(path, MAX_BYTES) as file:
        return file.read(MAX_BYTES)


def reason(error: Exception) -> str:
    """Why a file cannot be read, without the number of the error and the path, which stand beside it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

"""Files that strangers made: opened as regular files only, and read up to a limit.

A path in a folder from elsewhere may be a named pipe that nobody writes to, a device without an end, or a sparse file
of terabytes. A symbolic link to a regular file is followed: people keep weights in one place.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

MAX_JSON = 4 << 20  # bytes
MAX_DEPTH = 32  # of lists and objects in each other


def open_regular(path: str | Path, max_bytes: int) -> BinaryIO:
    """Open a regular file of at most `max_bytes` for reading, without waiting for anybody.

    Raises:
        OSError: it is not there, or may not be read.
        ValueError: a folder, a named pipe, a device or a socket; or it is larger. Says which.
    """
    _refuse_others(os.stat(path).st_mode)  # before it is opened: a device may act on that
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb")
    try:
        found = os.fstat(file.fileno())  # another file may have taken its place
        _refuse_others(found.st_mode)
        if found.st_size > max_bytes:
            raise ValueError(f"{found.st_size:,} bytes, and at most {max_bytes:,} are read")
    except ValueError:
        file.close()
        raise
    return file


def read_json(path: str | Path, max_bytes: int = MAX_JSON) -> Any:
    """The JSON value in a file, see `open_regular` and `parse_json`.

    Raises:
        OSError, ValueError: it cannot be read, or is no such JSON; says why.
    """
    with open_regular(path, max_bytes) as file:
        return parse_json(file.read(max_bytes))


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text in which no key stands twice in an object and nothing is nested deeply. NaN, Infinity
    and numbers too large for a float are floats: what becomes of them is the caller's choice.

    Raises:
        ValueError: it is no such JSON.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique)
        json.dumps(value, ensure_ascii=False).encode()  # half a UTF-16 pair, which nothing could write again
    except (RecursionError, MemoryError):
        raise ValueError("its values are nested too deeply") from None
    except UnicodeError:
        raise ValueError("it is no text in UTF-8") from None
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"its values are nested more than {MAX_DEPTH} deep")
        level = [item for outer in level for item in _items(outer)]
    return value


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r:.100} stands twice")
    return found


def _refuse_others(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}
        raise ValueError(f"it is a {kinds.get(stat.S_IFMT(mode), 'device')}, not a file")

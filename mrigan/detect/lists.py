"""Lists of paths, `@FILE`, as editors and shells write them: also in UTF-16, with a byte order mark, with quotes."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator

from mrigan.errors import InputError
from mrigan.files import shown, text_encoding
from mrigan.regular import open_regular

MAX_LIST_BYTES = 2**26  # bytes; a list of a million paths has about as many


def listed_paths(path: str) -> Iterator[str]:
    """The paths in a list, one a line (or ended by NULs, as of `find -print0`); relative ones start where the command
    was started. Quotes around a path and backslashes of Windows are removed, unless a file has them in its name.

    Raises:
        InputError: the list cannot be read, is larger than `MAX_LIST_BYTES`, or is not text.
    """
    fix = "give a file of one path a line"
    try:
        with open_regular(path) as file:
            data = file.read(MAX_LIST_BYTES + 1)
    except OSError as error:
        raise InputError(f"the list cannot be read: {error.strerror}", where=shown(path), fix=fix) from None
    if len(data) > MAX_LIST_BYTES:
        raise InputError(
            f"the list is larger than {MAX_LIST_BYTES // 2**20} MiB, the limit", where=shown(path), fix=fix
        )
    encoding = text_encoding(data[:4])
    try:
        if encoding.startswith("utf-16"):
            data = data.decode(encoding).encode()
    except UnicodeDecodeError as error:
        raise InputError(f"the list is not UTF-16 text: {error.reason}", where=shown(path), fix=fix) from None
    for line in re.split(rb"[\r\n\0]+", data.removeprefix(codecs.BOM_UTF8)):
        if line.strip():
            yield _plain(os.fsdecode(line.strip()))


def _plain(path: str) -> str:
    """The path that a line means."""
    if os.path.lexists(path):
        return path
    if len(path) > 2 and path[0] == path[-1] and path[0] in "\"'":
        path = path[1:-1]
    slashes = path.replace("\\", "/")
    return slashes if os.path.lexists(slashes) and not os.path.lexists(path) else path

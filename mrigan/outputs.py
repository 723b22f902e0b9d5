"""The files that a person names for results: one that Mrigan did not write is not replaced, unless by --force.

A slip such as `--json VIDEO` or `--annotate MY.mp4 OTHER.mp4` must not cost a file. What Mrigan writes is recognized by
how it begins, or ends; an empty file belongs to nobody.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from mrigan.errors import OutputError
from mrigan.files import Output, shown

LOOKED_AT = 4096  # bytes at either end
SOFTWARE = "Mrigan"  # the entry `Software` of our pictures
VIDEO_NOTE = "annotated by Mrigan"  # the comment of our videos
GENERATOR = f'<meta name="generator" content="{SOFTWARE}">'  # in our pages, after the charset

Recognizer = Callable[[Path], bool]


def begins(pattern: bytes) -> Recognizer:
    """Recognizes files whose first bytes match."""
    compiled = re.compile(pattern, re.DOTALL)
    return lambda path: compiled.match(_start(path)) is not None


PAGE = begins(rb"\s*<!doctype html>.{0,200}" + re.escape(GENERATOR.encode()))
PICTURE = begins(rb"\x89PNG\r\n\x1a\n.*?tEXtSoftware\0" + SOFTWARE.encode())
VERDICTS = begins(rb'\[\s*(\]|\{\s*"schema_version": \d+,\s*"path": )')
REPORT = begins(rb'\{\s*"schema_version": \d+,\s*"(ok|folder|left_out|results)": ')
SETTINGS = begins(rb"# Every setting\s+Made from the schema by `mrigan config docs")
GENERATOR_FILE = begins(rb'.{8}\{"__metadata__":\{"mrigan":')


def annotated_video(path: Path) -> bool:
    """Recognizes copies with boxes: their comment is the last thing in them."""
    with open(path, "rb") as file:
        file.seek(max(os.path.getsize(path) - LOOKED_AT, 0))
        return VIDEO_NOTE.encode() in file.read()


def own_output(path: str | Path, is_ours: Recognizer, force: bool = False) -> Output:
    """`Output(path)`, tried, for a result that replaces what is there.

    Raises:
        OutputError: see `Output` and `refuse_foreign`.
    """
    output = Output(path)
    refuse_foreign(path, is_ours, force)
    return output.try_write()


def refuse_foreign(path: str | Path, is_ours: Recognizer, force: bool = False) -> None:
    """Raise OutputError where a file lies at `path` that is not empty and that `is_ours` does not recognize."""
    path = Path(path)
    if force or not path.is_file() or not path.stat().st_size:
        return
    try:
        known = is_ours(path)
    except OSError as error:
        raise OutputError(f"cannot be looked at: {error.strerror}", where=shown(os.fspath(path)),
                          fix="give another name for it") from None  # fmt: skip
    if not known:
        raise OutputError(
            "a file is there that Mrigan did not write for this; it is not touched",
            where=shown(os.fspath(path)),
            fix="give another name for it, or --force to replace the file",
        )


def _start(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(LOOKED_AT)

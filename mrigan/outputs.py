"""Output files that users name: a file that Mrigan did not write is replaced only with --force.

A mistake such as `--json VIDEO` must not destroy a file. Mrigan recognizes its own files by their first or last bytes.
An empty file may be replaced.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from mrigan.errors import OutputError
from mrigan.files import Output, shown

PROBE_BYTES = 4096  # read at the start or the end of a file
SOFTWARE = "Mrigan"  # the entry `Software` of Mrigan's pictures
VIDEO_NOTE = "annotated by Mrigan"  # the comment of Mrigan's videos
GENERATOR = f'<meta name="generator" content="{SOFTWARE}">'  # in Mrigan's pages, after the charset

Recognizer = Callable[[Path], bool]


def begins(pattern: bytes) -> Recognizer:
    """A recognizer of files whose first bytes match."""
    compiled = re.compile(pattern, re.DOTALL)
    return lambda path: compiled.match(_start(path)) is not None


PAGE = begins(rb"\s*<!doctype html>.{0,200}" + re.escape(GENERATOR.encode()))
PICTURE = begins(rb"\x89PNG\r\n\x1a\n.*?tEXtSoftware\0" + SOFTWARE.encode())
VERDICTS = begins(rb'\[\s*(\]|\{\s*"schema_version": \d+,\s*"path": )')
REPORT = begins(rb'\{\s*"schema_version": \d+,\s*"(ok|folder|left_out|results)": ')
SETTINGS = begins(rb"# Every setting\s+(Made|This page is generated) from the schema by `mrigan config docs")
GENERATOR_FILE = begins(rb'.{8}\{"__metadata__":\{"mrigan":')


def annotated_video(path: Path) -> bool:
    """Recognizes annotated copies of videos: they end with their comment."""
    with open(path, "rb") as file:
        file.seek(max(os.path.getsize(path) - PROBE_BYTES, 0))
        return VIDEO_NOTE.encode() in file.read()


def own_output(path: str | Path, is_ours: Recognizer, force: bool = False) -> Output:
    """`Output(path).try_write()`, after `refuse_foreign`.

    Raises:
        OutputError: see `Output` and `refuse_foreign`.
    """
    output = Output(path)
    refuse_foreign(path, is_ours, force)
    return output.try_write()


def refuse_foreign(path: str | Path, is_ours: Recognizer, force: bool = False) -> None:
    """Raise OutputError if `path` is a file that is not empty and that `is_ours` does not recognize."""
    path = Path(path)
    if force or not path.is_file() or not path.stat().st_size:
        return
    try:
        recognized = is_ours(path)
    except OSError as error:
        what = f"the existing file cannot be read: {error.strerror}"
        raise OutputError(what, where=shown(os.fspath(path)), fix="choose another path") from None
    if not recognized:
        raise OutputError(
            "the file exists, and it is not an earlier output of this command; it was not changed",
            where=shown(os.fspath(path)),
            fix="choose another path, or use --force to replace the file",
        )


def _start(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(PROBE_BYTES)

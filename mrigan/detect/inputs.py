"""What was given to judge: videos, pictures, folders of them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mrigan.catalog import VIDEO_SUFFIXES
from mrigan.errors import InputError
from mrigan.video.stills import is_picture, shown


@dataclass(frozen=True)
class Input:
    """One file to judge; `path` is as given, so it may hold bytes that are no UTF-8 (as surrogates)."""

    path: str
    picture: bool


def expand(paths: Iterable[str | Path], pictures: bool = False) -> tuple[list[Input], list[str]]:
    """The files to judge: a folder is replaced by the videos and pictures in it (not by those in its sub-folders), a
    pattern (`clips/**/*.mp4`) by what it matches, `@FILE` by the paths in that file, one a line. No file comes twice.

    Args:
        pictures: every file is a picture; otherwise content and name tell.

    Returns:
        The inputs in the order given, those of a folder or pattern by name; and a line on each thing that is left out.

    Raises:
        InputError: a list cannot be read.
    """
    inputs: dict[str, Input] = {}
    skipped: list[str] = []
    for path in _listed(map(os.fsdecode, paths)):
        if any(c in path for c in "*?[") and not os.path.lexists(path):
            found = sorted(glob.iglob(path, recursive=True))  # hidden files are not matched
            files = [file for file in found if not os.path.isdir(file)]
            if not files:
                skipped.append(f"{shown(path)}: matches nothing")
        elif os.path.isdir(path):
            files = []
            for entry in sorted(os.scandir(path), key=lambda e: e.name):
                why = _left_out(entry)
                if why:
                    skipped.append(f"{shown(entry.path)}: {why}")
                else:
                    files.append(entry.path)
        else:
            files = [path]
        for file in files:
            if file in inputs:
                skipped.append(f"{shown(file)}: given twice")
            else:
                inputs[file] = Input(file, pictures or is_picture(file))
    return list(inputs.values()), skipped


def _listed(paths: Iterable[str]) -> Iterator[str]:
    """The paths, `@FILE` replaced by the lines of that file; relative ones start where the command was started."""
    for path in paths:
        if not path.startswith("@") or os.path.lexists(path):
            yield path
            continue
        try:
            lines = Path(path[1:]).read_bytes().splitlines()
        except OSError as error:
            what = f"the list cannot be read: {error.strerror}"
            raise InputError(what, where=shown(path[1:]), fix="give a file of one path a line") from None
        yield from (os.fsdecode(line.strip()) for line in lines if line.strip())


def _left_out(entry: os.DirEntry[str]) -> str:
    if entry.name.startswith("."):
        return "a hidden file"
    if entry.is_dir():
        return "a folder in a folder; give it by itself"
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in VIDEO_SUFFIXES or is_picture(entry.path):
        return ""
    return "neither a video nor a picture by its name"


def fingerprint(path: str) -> dict[str, int] | None:
    """Size in bytes and time of the last change in ns: what tells that a file is the one judged before."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}

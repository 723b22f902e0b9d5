"""What was given to judge: videos, pictures, folders of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mrigan.catalog import VIDEO_SUFFIXES
from mrigan.detect.lists import listed_paths
from mrigan.detect.patterns import matching
from mrigan.detect.verdict import FileIdentity
from mrigan.errors import InputError
from mrigan.files import sha256_file, shown
from mrigan.time_limit import GLANCE, file_status, within
from mrigan.video.stills import PICTURE_SUFFIXES, is_picture

MAX_HASHED_UNREADABLE = 4 << 30  # bytes; a larger file that could not be judged is not hashed


@dataclass(frozen=True)
class Input:
    """One file to judge; `path` is as given, so it may contain bytes that are not UTF-8 (as surrogates)."""

    path: str
    picture: bool


def expand(
    paths: Iterable[str | Path], pictures: bool = False, recursive: bool = False
) -> tuple[list[Input], list[str]]:
    """The files to judge. A folder stands for its videos and pictures, a pattern (`clips/**/*.mp4`) for its matches,
    `@FILE` for the paths in that file (see `listed_paths`). No file comes twice, whatever its names.

    Args:
        pictures: every file is a picture; otherwise content and name decide.
        recursive: a folder also stands for the files of its sub-folders; links to folders are not followed.

    Returns:
        The inputs in the given order, those of a folder or pattern by name; and a line about each skipped path.

    Raises:
        InputError: a list cannot be read.
    """
    inputs: dict[Hashable, Input] = {}
    skipped: list[str] = []
    given: set[str] = set()
    for path in _listed(map(os.fsdecode, paths)):
        if is_url(path):
            files = [path]
        elif any(c in path for c in "*?[") and not os.path.lexists(path):
            files = matching(path)
            if not files:
                skipped.append(f"{shown(path)}: matches no file")
        elif os.path.isdir(path):
            files = list(files_in_folder(path, recursive, skipped))
        else:
            files = [path]
        for file in files:
            first = inputs.setdefault(_identity(file), Input(file, pictures or looks_like_picture(file)))
            if first.path != file:
                skipped.append(f"{shown(file)}: the same file as {shown(first.path)}")
            elif file in given:
                skipped.append(f"{shown(file)}: given twice")
            given.add(file)
    return list(inputs.values()), skipped


def _identity(path: str) -> Hashable:
    """The same for all names of one file: links, `./`, two ways to a folder; the path if there is no such file."""
    try:
        status = file_status(path)
    except (OSError, ValueError):
        return path
    return status.st_dev, status.st_ino


def looks_like_picture(path: str) -> bool:
    """`is_picture`; by the name if the file system does not answer."""
    try:
        return within(GLANCE, is_picture, path)
    except TimeoutError:
        return os.path.splitext(path)[1].lower() in PICTURE_SUFFIXES


def _listed(paths: Iterable[str]) -> Iterator[str]:
    """The paths, `@FILE` replaced by those in that file."""
    for path in paths:
        if not path.startswith("@") or os.path.lexists(path):
            yield path
        else:
            yield from listed_paths(path[1:])


def files_in_folder(folder: str, recursive: bool, skipped: list[str]) -> Iterator[str]:
    """A folder's files by name, those of its sub-folders in their place; `skipped` gets a line on each other path."""
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError as error:
        skipped.append(f"{shown(folder)}: the folder cannot be read: {error.strerror}")
        return
    for entry in entries:
        if recursive and entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from files_in_folder(entry.path, recursive, skipped)
            continue
        why = _reason_to_skip(entry, recursive)
        if why:
            skipped.append(f"{shown(entry.path)}: {why}")
        else:
            yield entry.path


def is_url(path: str) -> bool:
    """Whether this is a URL and not the name of an existing file."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path) is not None and not os.path.lexists(path)


def refuse_url(path: str) -> None:
    """Raise InputError for a URL: the judged bytes must not change, and must be there for a second look."""
    if is_url(path):
        raise InputError("Mrigan opens no URL: download it first, keep the file and its SHA-256", where=shown(path))


def _reason_to_skip(entry: os.DirEntry[str], recursive: bool) -> str:
    if entry.name.startswith("."):
        return "a hidden file"
    if entry.is_dir():
        return (
            "a link to a folder; name it to include it" if recursive else "a sub-folder; use --recursive to include it"
        )
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES) or looks_like_picture(entry.path):
        return ""
    return "neither a video nor a picture"


def fingerprint(path: str) -> FileIdentity | None:
    """Size and time of the last change, which tell whether a file is the one judged before; None if it is not there."""
    try:
        status = file_status(path)
    except (OSError, ValueError):
        return None
    return FileIdentity(status.st_size, status.st_mtime_ns)


def identify(
    path: str, before: FileIdentity | None, readable: bool, hashing: Callable[[], None] = lambda: None
) -> FileIdentity | None:
    """The `fingerprint` that a file had `before` it was judged, with the SHA-256 of its bytes.

    The SHA-256 is None if it cannot be known: the file has changed since, is not a regular file, or could not be
    judged and is larger than `MAX_HASHED_UNREADABLE`.

    Args:
        hashing: called repeatedly while the file is hashed; an exception of it ends the hashing.
    """
    if before is None:
        return None
    sha256 = None
    if os.path.isfile(path) and (readable or before.bytes <= MAX_HASHED_UNREADABLE):
        try:
            sha256 = sha256_file(path, hashing)
        except OSError:
            sha256 = None
    return replace(before, sha256=sha256 if fingerprint(path) == before else None)

"""What a pattern matches; of a folder that links lead to in a circle, or by several ways, once."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

DEEP = "**"


def matching(pattern: str) -> list[str]:
    """The files that `pattern` matches, by name; `**` stands for any folders. Hidden ones are not matched.

    Every folder is looked into once, by the way without links where there is one: `glob` follows links in circles,
    and where two of them meet, for ever.
    """
    return sorted({path for path in _matching(pattern) if not os.path.isdir(path)})


def _matching(pattern: str) -> Iterator[str]:
    parts = pattern.split("/")
    if DEEP not in parts:
        yield from glob.iglob(pattern)
        return
    at = parts.index(DEEP)
    rest = "/".join(part for part in parts[at + 1 :] if part) or "*"
    start = "/".join(parts[:at])
    above = [start + "/" * (not start)] if at and not glob.has_magic(start) else glob.iglob(start) if at else [""]
    for folder in _folders([folder for folder in above if not folder or os.path.isdir(folder)]):
        yield from _matching(os.path.join(glob.escape(folder), rest) if folder else rest)


def _folders(waiting: list[str]) -> Iterator[str]:
    """The folders, and all below them; by links only those that are not reached without."""
    seen: set[tuple[int, int]] = set()
    links: list[str] = []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        try:
            status = os.stat(folder or ".")
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder or ".") as entries:
                found = sorted((entry.name, entry.is_symlink()) for entry in entries if entry.is_dir())
        except OSError:
            continue  # not to be read: as `glob`, which matches nothing in it
        yield folder
        for name, link in reversed(found):
            if not name.startswith("."):
                (links if link else waiting).append(os.path.join(folder, name))

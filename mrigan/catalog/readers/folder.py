"""Folders, listed once, and the check that keeps label files inside theirs."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from mrigan.catalog.readers.common import UNPRINTABLE, Problems
from mrigan.errors import CatalogError

# What a video file may be called, for the whole library: names of the containers that `mrigan.video` opens.
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".vob", ".ts", ".mts",
    ".m2ts", ".flv", ".wmv", ".asf", ".ogv",
})  # fmt: skip
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # a name that leads nowhere else


class Folder:
    """A folder's files, listed once: to ask the file system for each of 120,000 entries takes most of a scan's time.

    Args:
        where: the list that names entries of the folder, for errors; by default the folder.

    Raises:
        CatalogError: the folder cannot be read.
    """

    def __init__(self, path: Path, where: Path | None = None) -> None:
        self.path, self.where = path, where or path
        try:
            with os.scandir(path) as entries:
                self._entries = {entry.name: entry for entry in entries}
        except OSError as error:
            raise CatalogError(f"the folder cannot be read: {error.strerror}", where=path) from None

    def has(self, entry: str) -> bool:
        """Whether `entry` is a file of this folder; CatalogError where it leads out (see `inside`)."""
        if PLAIN.fullmatch(entry):
            found = self._entries.get(entry)
            if found is None or not found.is_symlink():
                return found is not None and found.is_file()
        return inside(self.path, entry, self.where).is_file()

    def is_link(self, name: str) -> bool:
        """Whether there is a symbolic link of that name."""
        return name in self._entries and self._entries[name].is_symlink()

    def files(self, suffixes: Collection[str], problems: Problems, shown: str = "") -> Iterator[str]:
        """Names of the files with these suffixes, sorted; others are counted, hidden ones passed over.

        Args:
            shown: how the folder is called in problems, with a "/" at its end.
        """
        for name in sorted(self._entries):
            if name.startswith(".") or self._entries[name].is_dir():
                continue
            if UNPRINTABLE.search(name):
                problems.add("skipped: a name with control characters, line breaks or no UTF-8", shown + name)
            elif os.path.splitext(name)[1].lower() not in suffixes:
                problems.add("passed over: neither a clip nor a list", shown + name)
            elif self.has(name):
                yield name

    def matching(
        self, pattern: str, suffixes: Collection[str], problems: Problems, shown: str = ""
    ) -> Iterator[tuple[re.Match[str], str]]:
        """(match of the name without suffix, name) of the files that are called as published; others are counted."""
        rule = re.compile(pattern, re.ASCII)
        for name in self.files(suffixes, problems, shown):
            match = rule.fullmatch(os.path.splitext(name)[0])
            if match:
                yield match, name
            else:
                problems.add("skipped: not called like the data set's clips", shown + name)

    def folders(self) -> list[str]:
        """Names of the folders in it, sorted; hidden and unprintable ones are passed over."""
        names = (entry.name for entry in self._entries.values() if entry.is_dir())
        return sorted(name for name in names if not name.startswith(".") and not UNPRINTABLE.search(name))


class Tree:
    """Files below a folder, each sub-folder listed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, Folder | None] = {}

    def relative(self, path: str) -> str:
        """An absolute path in the root as it is called from there; any other as it is."""
        return path.removeprefix(f"{self.root.absolute().as_posix()}/")

    def has(self, path: str, where: str) -> bool:
        """Whether `path` is a file below the root; CatalogError where it leads out (see `inside`)."""
        above, _, name = path.rpartition("/")
        if above not in self._folders:
            folder = inside(self.root, path, Path(where)).parent
            self._folders[above] = Folder(folder) if folder.is_dir() else None
        found = self._folders[above]
        if PLAIN.fullmatch(name) and not (found and found.is_link(name)):
            return found is not None and found.has(name)
        return inside(self.root, path, Path(where)).is_file()


def listing(root: Path, layout: str) -> Folder:
    """The root of a data set; CatalogError naming its layout where it is no folder."""
    if not root.is_dir():
        raise CatalogError("no such folder", where=root, fix=layout)
    return Folder(root)


def inside(folder: Path, entry: str, where: Path) -> Path:
    """The file that `entry` (relative to `folder`, with "/") names; it need not exist.

    Raises:
        CatalogError: the entry is absolute, climbs with "..", or leads out of `folder` by a symbolic link. Label files
            come from strangers, and the frames of whatever they name end up in shards and reports.
    """
    relative = PurePosixPath(entry)
    drive = PureWindowsPath(entry)
    reason = None
    if not relative.parts or UNPRINTABLE.search(entry):
        reason = "is no file name"
    elif relative.is_absolute() or drive.drive or drive.root:
        reason = "is an absolute path"
    elif ".." in (*relative.parts, *drive.parts):
        reason = "climbs out of the folder"
    elif not (folder / relative).resolve().is_relative_to(folder.resolve()):
        reason = "is a link that leads out of the folder"
    if reason:
        fix = "clips must lie in the folder of their list; remove the entry, or move the file in"
        if reason == "is an absolute path":
            fix = f"write the path from {folder} on (for a manifest, --root names another folder); clips must lie in it"
        raise CatalogError(f"entry {entry!r} {reason}", where=where, fix=fix)
    return folder / relative

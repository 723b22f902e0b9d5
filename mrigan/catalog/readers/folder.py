"""List folders once, and check that the paths in label files stay inside their folder."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from mrigan.catalog.readers.common import UNPRINTABLE, Problems
from mrigan.errors import CatalogError

# Suffixes of video files for the whole library: the containers that `mrigan.video` opens.
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".vob", ".ts", ".mts",
    ".m2ts", ".flv", ".wmv", ".asf", ".ogv",
})  # fmt: skip
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # a name that cannot point out of its folder


class FolderListing:
    """The entries of a folder, listed once, because 120,000 single requests to the file system would be slow.

    Args:
        where: the label file that names entries of the folder, for errors; by default the folder.

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
        """Whether `entry` is a file of this folder; CatalogError if it points out of the folder (see `inside`)."""
        if PLAIN.fullmatch(entry):
            existing = self._entries.get(entry)
            if existing is None or not existing.is_symlink():
                return existing is not None and existing.is_file()
        return inside(self.path, entry, self.where).is_file()

    def is_link(self, name: str) -> bool:
        """Whether there is a symbolic link of that name."""
        return name in self._entries and self._entries[name].is_symlink()

    def files(self, suffixes: Collection[str], problems: Problems, shown: str = "") -> Iterator[str]:
        """Sorted names of the files with these suffixes; others are added to `problems`, hidden files are ignored.

        Args:
            shown: the folder's name in problems, with a final "/".
        """
        for name in sorted(self._entries):
            if name.startswith(".") or self._entries[name].is_dir():
                continue
            if UNPRINTABLE.search(name):
                problems.add("skipped: the name has control characters, line breaks or is not UTF-8", shown + name)
            elif os.path.splitext(name)[1].lower() not in suffixes:
                problems.add("skipped: neither a clip nor a list", shown + name)
            elif self.has(name):
                yield name

    def matching(
        self, pattern: str, suffixes: Collection[str], problems: Problems, shown: str = ""
    ) -> Iterator[tuple[re.Match[str], str]]:
        """(match of the name without suffix, name) of the files whose name fits `pattern`; others are problems."""
        rule = re.compile(pattern, re.ASCII)
        for name in self.files(suffixes, problems, shown):
            match = rule.fullmatch(os.path.splitext(name)[0])
            if match:
                yield match, name
            else:
                problems.add("skipped: not named like the data set's clips", shown + name)

    def folders(self) -> list[str]:
        """Sorted names of the sub-folders, without hidden and unprintable ones."""
        names = (entry.name for entry in self._entries.values() if entry.is_dir())
        return sorted(name for name in names if not name.startswith(".") and not UNPRINTABLE.search(name))


class Tree:
    """The files below a folder; each sub-folder is listed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[str, FolderListing | None] = {}

    def relative(self, path: str) -> str:
        """An absolute path below the root, relative to it; any other path unchanged."""
        return path.removeprefix(f"{self.root.absolute().as_posix()}/")

    def has(self, path: str, where: str) -> bool:
        """Whether `path` is a file below the root; CatalogError if it points out of the root (see `inside`)."""
        above, _, name = path.rpartition("/")
        if above not in self._folders:
            folder = inside(self.root, path, Path(where)).parent
            self._folders[above] = FolderListing(folder) if folder.is_dir() else None
        listed = self._folders[above]
        if PLAIN.fullmatch(name) and not (listed and listed.is_link(name)):
            return listed is not None and listed.has(name)
        return inside(self.root, path, Path(where)).is_file()


def listing(root: Path, layout: str) -> FolderListing:
    """The listing of a data set's root; CatalogError with the expected layout if it is not a folder."""
    if not root.is_dir():
        raise CatalogError("no such folder", where=root, fix=layout)
    return FolderListing(root)


def list_path(root: Path, splits: Path | None, name: str) -> Path | None:
    """The path of a publisher's list: `splits` (the file or its folder); by default ROOT/`name`, None if missing.

    Raises:
        CatalogError: `splits` is given and there is no such file.
    """
    path = root / name if splits is None else splits / name if splits.is_dir() else splits
    if path.is_file():
        return path
    if splits is not None:
        raise CatalogError("no such list", where=path, fix=f"--splits takes {name} or its folder")
    return None


def inside(folder: Path, entry: str, where: Path) -> Path:
    """The path of `entry`, which is relative to `folder` and has "/"; the file need not exist.

    Label files may come from strangers, and frames of every file that they name go into shards and reports.

    Raises:
        CatalogError: the entry is absolute, has "..", or is a symbolic link out of `folder`.
    """
    relative = PurePosixPath(entry)
    drive = PureWindowsPath(entry)
    reason = None
    if not relative.parts or UNPRINTABLE.search(entry):
        reason = "is not a file name"
    elif relative.is_absolute() or drive.drive or drive.root:
        reason = "is an absolute path"
    elif ".." in (*relative.parts, *drive.parts):
        reason = "points out of the folder"
    elif not (folder / relative).resolve().is_relative_to(folder.resolve()):
        reason = "is a link that leads out of the folder"
    if reason:
        fix = "clips must be in the folder of their list; remove the entry, or move the file into the folder"
        if reason == "is an absolute path":
            fix = f"write the path relative to {folder}, which clips must be in (for a manifest, --root is that folder)"
        raise CatalogError(f"entry {entry!r} {reason}", where=where, fix=fix)
    return folder / relative

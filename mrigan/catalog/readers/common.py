"""What every reader returns, and the check that keeps label files inside their folder."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from mrigan.catalog.clips import Clip
from mrigan.errors import CatalogError, ConfigError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv"})
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # a name that leads nowhere else
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # the last: bytes that are no UTF-8


@dataclass(frozen=True)
class Problem:
    """A reason why clips were skipped or are less than they should be, with their number and the first few names."""

    reason: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count} {self.reason}" + (f" ({', '.join(self.examples)}{more})" if self.examples else "")


class Problems:
    """Collects (reason, name) while a reader goes on."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = defaultdict(list)

    def add(self, reason: str, name: str) -> None:
        self._names[reason].append(printable(name))

    def extend(self, reason: str, names: Iterable[str]) -> None:
        for name in names:
            self.add(reason, name)

    def counted(self, examples: int = 3) -> list[Problem]:
        reasons = sorted(self._names.items())
        return [Problem(reason, len(names), tuple(sorted(names)[:examples])) for reason, names in reasons]


@dataclass(frozen=True)
class ScanResult:
    """What a reader found.

    Attributes:
        root: the folder that the clips' paths are relative to.
        clips: without splits.
        problems: counted skips and shortcomings.
        notes: what a person should know, for example what the groups are.
        official: the clips' official splits are to be used.
        differences: what this copy lacks of the published data set, or has beside it; [] = it is complete, None = there
            is nothing to compare it with.
    """

    root: Path
    clips: list[Clip]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    official: bool = False
    differences: list[Problem] | None = None


class Reader(Protocol):
    """Lists the clips below `root` (a folder, for a manifest the file); reads only. Raises CatalogError.

    `splits` is the user's copy of the publisher's lists, a file or the folder that holds them; None = not to be used.
    """

    def __call__(self, root: Path, /, splits: Path | None = None) -> ScanResult: ...


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


def listing(root: Path, layout: str) -> Folder:
    """The root of a data set; CatalogError naming its layout where it is no folder."""
    if not root.is_dir():
        raise CatalogError("no such folder", where=root, fix=layout)
    return Folder(root)


def found_clips(clips: list[Clip], root: Path, problems: Problems, layout: str) -> list[Clip]:
    """`clips` by id; CatalogError where there are none, or two have one id."""
    if not clips:
        found = "; ".join(map(str, problems.counted())) or "nothing is called as the data set's files are"
        raise CatalogError(f"no clips found: {found}", where=root, fix=layout)
    return unique(clips, root)


def printable(name: str) -> str:
    """`name`, with control characters and bytes that are no UTF-8 escaped: it goes into messages and tables."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), name)


def count_difference(published: int, found: int, what: str) -> list[Problem]:
    """The difference of two numbers, where the published names are not known."""
    if found < published:
        return [Problem(f"of the {published:,} published {what} are not here", published - found, ())]
    return (
        [Problem(f"{what} more than the {published:,} published", found - published, ())] if found > published else []
    )


def no_lists(splits: Path | None, reader: str, why: str) -> None:
    """Raise ConfigError where `--splits` is given to a reader that knows no official lists."""
    if splits is not None:
        raise ConfigError(f"--splits: {reader} has no official lists: {why}", fix="leave --splits out")


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
        raise CatalogError(
            f"entry {entry!r} {reason}",
            where=where,
            fix="clips must lie in the folder of their list; remove the entry, or move the file in",
        )
    return folder / relative


def unique(clips: Iterable[Clip], where: Path) -> list[Clip]:
    """The clips sorted by id; CatalogError where two have the same."""
    by_id: dict[str, Clip] = {}
    for clip in clips:
        if clip.id in by_id:
            raise CatalogError(f"two clips are called {clip.id}: {by_id[clip.id].path} and {clip.path}", where=where)
        by_id[clip.id] = clip
    return [by_id[key] for key in sorted(by_id)]

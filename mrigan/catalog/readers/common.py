"""What every reader returns, and the check that keeps label files inside their folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from mrigan.catalog.clips import Clip
from mrigan.errors import CatalogError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv"})


@dataclass(frozen=True)
class Problem:
    """A reason why clips were skipped or are less than they should be, with their number and the first few names."""

    reason: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count} {self.reason} ({', '.join(self.examples)}{more})"


class Problems:
    """Collects (reason, name) while a reader goes on."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = defaultdict(list)

    def add(self, reason: str, name: str) -> None:
        self._names[reason].append(name)

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
    """

    root: Path
    clips: list[Clip]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    official: bool = False


class Reader(Protocol):
    """Lists the clips below `root` (a folder, for a manifest the file); reads only. Raises CatalogError."""

    def __call__(self, root: Path, /) -> ScanResult: ...


def inside(folder: Path, entry: str, where: Path) -> Path:
    """The file that `entry` (relative to `folder`, with "/") names; it need not exist.

    Raises:
        CatalogError: the entry is absolute, climbs with "..", or leads out of `folder` by a symbolic link. Label files
            come from strangers, and the frames of whatever they name end up in shards and reports.
    """
    relative = PurePosixPath(entry)
    drive = PureWindowsPath(entry)
    reason = None
    if not relative.parts or "\0" in entry:
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

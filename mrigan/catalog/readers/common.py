"""`ScanResult`, which every reader returns, and `Problems`, which counts what is wrong or missing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mrigan.catalog.clips import Clip
from mrigan.errors import CatalogError, ConfigError

MISSING = "fakes with a missing original (kept, no MRI)"
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # the last range: bytes that are not UTF-8


@dataclass(frozen=True)
class Problem:
    """Why some clips were skipped or are incomplete, with their number and the first few names."""

    reason: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count:,} {self.reason}" + (f" ({', '.join(self.examples)}{more})" if self.examples else "")


class Problems:
    """Collects (reason, name) while a reader continues."""

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
    """The result of a reader.

    Attributes:
        root: the folder that the clips' paths are relative to.
        clips: without splits.
        problems: why clips were skipped or are incomplete, counted.
        notes: hints for the user, for example what the groups are.
        official: use the clips' official splits.
        scope, unclear, absent: see `Making`; the latter two by data set.
        differences: clips that this copy lacks of the published data set, or has in addition; [] = the copy is
            complete, None = the published data set is unknown.
    """

    root: Path
    clips: list[Clip]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    official: bool = False
    differences: list[Problem] | None = None
    scope: str = ""
    unclear: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    absent: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    @property
    def datasets(self) -> list[str]:
        """The names of the data sets."""
        return sorted({clip.dataset for clip in self.clips})


class Reader(Protocol):
    """Lists the clips below `root` (a folder; for a manifest, the file). Raises CatalogError.

    `splits` is the user's copy of the publisher's lists, a file or its folder; None = do not use them.
    """

    def __call__(self, root: Path, /, splits: Path | None = None) -> ScanResult: ...


def printable(name: str) -> str:
    """`name` for messages and tables: control characters and bytes that are not UTF-8 are escaped."""
    return UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), name)


def checked_clips(clips: list[Clip], root: Path, problems: Problems, layout: str) -> list[Clip]:
    """`clips` sorted by id; fakes whose original is named but missing are added to `problems`.

    Raises:
        CatalogError: no clips, or two with one id.
    """
    if not clips:
        reasons = "; ".join(map(str, problems.counted())) or "no file is named like the files of this data set"
        raise CatalogError(f"no clips found: {reasons}", where=root, fix=layout)
    for clip in clips:
        if clip.label == "fake" and clip.original is None and clip.family != clip.id:
            problems.add(MISSING, clip.path)
    return unique(clips, root)


def count_difference(published: int, count: int, what: str) -> list[Problem]:
    """The difference between the published and the actual number, for files whose published names are unknown."""
    if count < published:
        return [Problem(f"of the {published:,} published {what} are missing", published - count, ())]
    more = f"{what} more than the {published:,} published"
    return [Problem(more, count - published, ())] if count > published else []


def no_lists(splits: Path | None, reader: str, why: str) -> None:
    """Raise ConfigError if `--splits` is given to a reader without official lists."""
    if splits is not None:
        raise ConfigError(f"--splits: {reader} has no official lists: {why}", fix="leave --splits out")


def unique(clips: Iterable[Clip], where: Path) -> list[Clip]:
    """The clips sorted by id; CatalogError if two have the same id."""
    by_id: dict[str, Clip] = {}
    for clip in clips:
        if clip.id in by_id:
            raise CatalogError(
                f"two clips have the id {clip.id}: {by_id[clip.id].path} and {clip.path}",
                where=where,
                fix="remove one of the two; or, in a manifest, give one another name (column name): data set, method, "
                "compression and name together are the id",
            )
        by_id[clip.id] = clip
    return [by_id[key] for key in sorted(by_id)]

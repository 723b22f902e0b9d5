"""What every reader returns, and how it counts what is wrong or missing."""

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
        scope, unclear, absent: see `Making`; the latter two by data set.
        differences: what this copy lacks of the published data set, or has beside it; [] = it is complete, None = there
            is nothing to compare it with.
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
    """Lists the clips below `root` (a folder, for a manifest the file); reads only. Raises CatalogError.

    `splits` is the user's copy of the publisher's lists, a file or the folder that holds them; None = not to be used.
    """

    def __call__(self, root: Path, /, splits: Path | None = None) -> ScanResult: ...


def printable(name: str) -> str:
    """`name`, with control characters and bytes that are no UTF-8 escaped: it goes into messages and tables."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), name)


def found_clips(clips: list[Clip], root: Path, problems: Problems, layout: str) -> list[Clip]:
    """`clips` by id; CatalogError where there are none, or two have one id."""
    if not clips:
        found = "; ".join(map(str, problems.counted())) or "nothing is called as the data set's files are"
        raise CatalogError(f"no clips found: {found}", where=root, fix=layout)
    return unique(clips, root)


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


def unique(clips: Iterable[Clip], where: Path) -> list[Clip]:
    """The clips sorted by id; CatalogError where two have the same."""
    by_id: dict[str, Clip] = {}
    for clip in clips:
        if clip.id in by_id:
            raise CatalogError(
                f"two clips are called {clip.id}: {by_id[clip.id].path} and {clip.path}",
                where=where,
                fix="a clip is told by data set, method, compression and name together: remove one of the two, "
                "or in a manifest give it another name (column name)",
            )
        by_id[clip.id] = clip
    return [by_id[key] for key in sorted(by_id)]

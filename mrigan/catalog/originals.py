"""Originals by name: which file a list means, and which clips are of one original that is not there."""

from __future__ import annotations

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

Parts = tuple[str, ...]


def folded(text: str) -> str:
    """`text` as names are compared: one Unicode form, one letter case."""
    if text.isascii():  # nearly every name
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def name_parts(name: str) -> Parts:
    """The parts of a path as some system wrote it, folded: `..\\R\\É.mp4` and `./r/é.mp4` are alike."""
    parts = posixpath.normpath(name.replace("\\", "/").removeprefix("file://")).split("/")
    return tuple(folded(part) for part in parts if part not in ("", ".", ".."))


def spellings(name: str) -> list[Parts]:
    """`name_parts`; and those of the name without the escapes of a URL, where it has some."""
    return list(dict.fromkeys(name_parts(text) for text in (name, unquote(name))))


class Names:
    """Files, found by the names that people write: another Unicode form or letter case, fewer folders, none.

    Args:
        base: the folder that the files' paths start from.
    """

    def __init__(self, base: Path) -> None:
        self.base = name_parts(base.absolute().as_posix())
        self._paths: dict[str, None] = {}
        self._waiting: list[str] = []  # not yet in the index, which a list of exact paths does not need
        self._ends: dict[str, list[tuple[Parts, str]]] = defaultdict(list)  # last part → files
        self._stems: dict[str, list[tuple[Parts, str]]] = defaultdict(list)  # the same without its suffix

    def add(self, path: str) -> None:
        """`path`: below `base`, with "/"."""
        self._paths[path] = None
        self._waiting.append(path)

    def _index(self) -> None:
        for path in self._waiting:
            parts = name_parts(path)
            self._ends[parts[-1]].append((parts, path))
            stem = posixpath.splitext(parts[-1])[0]
            if stem != parts[-1]:
                self._stems[stem].append(((*parts[:-1], stem), path))
        self._waiting = []

    def fitting(self, name: str, but: str = "") -> list[str]:
        """The files that `name` may mean: that of this path; else those of a path alike; else those whose path ends
        like it; else, for a name that starts elsewhere, those whose whole path it ends with.

        Args:
            but: a file that it is not.
        """
        exact = posixpath.normpath(name)
        if exact in self._paths and exact != but:
            return [exact]
        self._index()
        for parts in spellings(name):
            for index in (self._ends, self._stems) if parts else ():
                ends = [(p, path) for p, path in index.get(parts[-1], ()) if path != but]
                for found in (
                    [path for p, path in ends if p == parts],
                    [path for p, path in ends if _ends_with((*self.base, *p), parts)],
                    [path for p, path in ends if _is_absolute(name) and _ends_with(parts, p)],
                ):
                    if found:
                        return found
        return []


class Union:
    """Which of some things belong together, by any chain of pairs."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, key: str) -> str:
        """The same for all that belong together."""
        parent = self._parent
        while (above := parent.get(key, key)) != key:
            parent[key] = key = parent.get(above, above)
        return key

    def join(self, a: str, b: str) -> None:
        """Put two together."""
        self._parent[self.root(b)] = self.root(a)


def one_original(names: Iterable[Parts]) -> tuple[list[tuple[Parts, Parts]], dict[Parts, list[Parts]]]:
    """Which names of missing originals mean the same: a name with fewer folders is the longer one that ends like it.

    Returns:
        Pairs of names; and each name that ends like several others, with these: nobody can tell which it is.
    """
    by_end: dict[str, list[Parts]] = defaultdict(list)
    for name in sorted(set(names)):
        by_end[name[-1]].append(name)
    pairs: list[tuple[Parts, Parts]] = []
    unclear: dict[Parts, list[Parts]] = {}
    for alike in by_end.values():
        for name in alike if len(alike) > 1 else ():
            longer = [other for other in alike if other != name and _ends_with(other, name)]
            whole = [a for a in longer if not any(a != b and _ends_with(b, a) for b in longer)]
            if len(whole) == 1:
                pairs += [(name, other) for other in longer]
            elif whole:
                unclear[name] = whole
    return pairs, unclear


def _ends_with(parts: Parts, end: Parts) -> bool:
    return len(end) <= len(parts) and parts[len(parts) - len(end) :] == end


def _is_absolute(name: str) -> bool:
    return name.startswith(("/", "\\", "file:")) or name[1:3] in (":/", ":\\")

"""Find originals by name: which file a list means, and which clips share one missing original."""

from __future__ import annotations

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

Parts = tuple[str, ...]


def folded(text: str) -> str:
    """`text` in one Unicode form and lower case, to compare names."""
    if text.isascii():  # nearly every name
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def name_parts(name: str) -> Parts:
    """The folded parts of a path from any system: `..\\R\\É.mp4` and `./r/é.mp4` are equal."""
    parts = posixpath.normpath(name.replace("\\", "/").removeprefix("file://")).split("/")
    return tuple(folded(part) for part in parts if part not in ("", ".", ".."))


def spellings(name: str) -> list[Parts]:
    """`name_parts` of the name; if it has escapes of a URL, also of the unescaped name."""
    return list(dict.fromkeys(name_parts(text) for text in (name, unquote(name))))


class Names:
    """Finds files by the names that people write: with another Unicode form or letter case, with fewer folders or none.

    Args:
        base: the folder that the files' paths are relative to.
    """

    def __init__(self, base: Path) -> None:
        self.base = name_parts(base.absolute().as_posix())
        self._paths: dict[str, None] = {}
        self._waiting: list[str] = []  # not yet in the index, which exact paths do not need
        self._ends: dict[str, list[tuple[Parts, str]]] = defaultdict(list)  # last part → files
        self._stems: dict[str, list[tuple[Parts, str]]] = defaultdict(list)  # last part without its suffix → files

    def add(self, path: str) -> None:
        """Add a file by its path relative to `base`, with "/"."""
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
        """The files that `name` may mean.

        The first of these that exists: the file of exactly this path; files of an equal folded path; files whose path
        ends with `name`; for an absolute name, files whose whole path `name` ends with.

        Args:
            but: a file that is not the one.
        """
        exact = posixpath.normpath(name)
        if exact in self._paths and exact != but:
            return [exact]
        self._index()
        for parts in spellings(name):
            for index in (self._ends, self._stems) if parts else ():
                ends = [(p, path) for p, path in index.get(parts[-1], ()) if path != but]
                for fitting in (
                    [path for p, path in ends if p == parts],
                    [path for p, path in ends if _ends_with((*self.base, *p), parts)],
                    [path for p, path in ends if _is_absolute(name) and _ends_with(parts, p)],
                ):
                    if fitting:
                        return fitting
        return []


class Union:
    """Groups keys that are joined by any chain of pairs (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, key: str) -> str:
        """The representative key of the group of `key`."""
        parent = self._parent
        while (above := parent.get(key, key)) != key:
            parent[key] = key = parent.get(above, above)
        return key

    def join(self, a: str, b: str) -> None:
        """Join the groups of two keys."""
        self._parent[self.root(b)] = self.root(a)


def one_original(names: Iterable[Parts]) -> tuple[list[tuple[Parts, Parts]], dict[Parts, list[Parts]]]:
    """Match names of missing originals: a name with fewer folders means the longer name that ends with it.

    Returns:
        Pairs of equal names; and ambiguous name → the several longer names that end with it.
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

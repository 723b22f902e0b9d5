"""Fakes and their originals in DFDC: file names are unique over all parts, so that one name is one clip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from mrigan.catalog.clips import ORIGINAL, clip_id
from mrigan.catalog.originals import Union, folded
from mrigan.catalog.readers.common import Problems
from mrigan.catalog.readers.folder import Folder

DATASET = "dfdc"


class Part:
    """A folder with its list; `entries` by file name."""

    def __init__(self, path: Path, name: str, entries: dict[str, dict[str, Any]]) -> None:
        self.path, self.name, self.entries = path, name, entries

    @cached_property
    def folder(self) -> Folder:
        return Folder(self.path, self.path / "metadata.json")

    def there(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The entries that are on disk and have a label, by name."""
        for entry, row in sorted(self.entries.items()):
            if label_of(row) and self.folder.has(entry):
                yield entry, row


def label_of(row: dict[str, Any]) -> str:
    """real, fake, or "" where it is neither."""
    label = str(row.get("label")).lower()
    return label if label in ("real", "fake") else ""


class Originals:
    """Which real clip each fake was made from, and the families: whatever is of one name, or made from it.

    Args:
        parts: in their order; the first that holds a name gives its family the id.

    Attributes:
        repeated: the names that are in several parts.
    """

    def __init__(self, parts: list[Part]) -> None:
        self.repeated = Problems()
        self._reals: dict[str, list[tuple[Part, str]]] = defaultdict(list)  # key of a name → reals on disk
        self._source: dict[str, str] = {}  # key of a fake → name of what it was made from
        self._families = Union()
        there = [(number, part, entry, row) for number, part in enumerate(parts) for entry, row in part.there()]
        holders: dict[str, list[str]] = defaultdict(list)
        for _, part, entry, row in there:
            key, original = _key(entry), _original(entry, row)
            holders[key].append(part.name)
            if label_of(row) == "real":
                self._reals[key].append((part, entry))
            elif original:
                self._source.setdefault(key, original)
                self._families.join(key, _key(original))
        self._ids: dict[str, tuple[int, int, str]] = {}  # a real clip's; else a missing original's; else a fake's own
        for number, part, entry, row in there:
            label, original = label_of(row), _original(entry, row)
            own = clip_id(DATASET, ORIGINAL if label == "real" else "", "", f"{part.name}/{entry}")
            self._name(entry, (0 if label == "real" else 2, number, own))
            if label == "fake" and original and _key(original) not in holders:
                self._name(entry, (1, number, clip_id(DATASET, ORIGINAL, "", f"{part.name}/{original}")))
        for key, names in holders.items():
            if len(names) > 1:
                self.repeated.add(
                    "file names are in several parts (one clip, one family)", f"{key}: {', '.join(names)}"
                )

    def of(self, part: Part, entry: str) -> str | None:
        """The id of the real clip that a fake was made from, if need be over other fakes; None where it is missing."""
        original, seen = _original(entry, part.entries[entry]), {_key(entry)}
        while original:
            key = _key(original)
            reals = self._reals.get(key)
            if reals:
                home, name = min(reals, key=lambda real: (real[0] is not part, real[1] != original))
                return clip_id(DATASET, ORIGINAL, "", f"{home.name}/{name}")
            original = "" if key in seen else self._source.get(key, "")
            seen.add(key)
        return None

    def is_of_a_fake(self, entry: str, row: dict[str, Any]) -> bool:
        """Whether a fake names a fake as its original."""
        key = _key(_original(entry, row) or entry)
        return key != _key(entry) and key not in self._reals and key in self._source

    def family(self, entry: str) -> str:
        """The id of the family of an entry that is on disk."""
        return self._ids[self._families.root(_key(entry))][-1]

    def _name(self, entry: str, found: tuple[int, int, str]) -> None:
        root = self._families.root(_key(entry))
        self._ids[root] = min(found, self._ids.get(root, found))


def _original(entry: str, row: dict[str, Any]) -> str:
    """What a row names as its original; "" where that is nothing, or itself."""
    original = row.get("original") or ""
    return "" if _key(original or ".") == _key(entry) else original


def _key(name: str) -> str:
    return folded(PurePosixPath(name.replace("\\", "/")).name)

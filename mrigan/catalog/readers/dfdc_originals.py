"""Fakes and their originals in DFDC: file names are unique over all parts, so that one name is one clip."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property, lru_cache
from pathlib import Path
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

    @cached_property
    def there(self) -> dict[str, dict[str, Any]]:
        """The entries that are on disk, by name, sorted."""
        return {entry: row for entry, row in sorted(self.entries.items()) if self.folder.has(entry)}


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
        there = [
            (number, part, label, entry, _key(entry), _original(entry, row))
            for number, part in enumerate(parts)
            for entry, row in part.there.items()
            if (label := label_of(row))
        ]
        holders: dict[str, list[str]] = defaultdict(list)
        for part in parts:  # of what is not on disk, too: a fake of it is of the family of its original
            for entry, row in part.entries.items():
                original = _original(entry, row) if len(part.there) < len(part.entries) else ""
                if original and entry not in part.there and label_of(row) == "fake":
                    self._source.setdefault(_key(entry), original)
                    self._families.join(_key(entry), _key(original))
        for _, part, label, entry, key, original in there:
            holders[key].append(part.name)
            if label == "real":
                self._reals[key].append((part, entry))
            elif original:
                self._source.setdefault(key, original)
                self._families.join(key, _key(original))
        first: dict[str, tuple[int, int, str]] = {}  # a real clip; else a missing original; else a fake
        for number, _, label, entry, key, original in there:
            found = (0 if label == "real" else 2, number, entry)
            if label == "fake" and original and _key(original) not in holders:
                found = (1, number, original)
            root = self._families.root(key)
            if root not in first or found < first[root]:
                first[root] = found
        self._ids = {
            root: clip_id(DATASET, "" if rank == 2 else ORIGINAL, "", f"{parts[number].name}/{name}")
            for root, (rank, number, name) in first.items()
        }
        for key, names in holders.items():
            if len(names) > 1:
                self.repeated.add(
                    "file names are in several parts (one clip, one family)", f"{key}: {', '.join(names)}"
                )

    def of(self, part: Part, entry: str) -> tuple[str | None, bool]:
        """The id of the real clip that a fake was made from, None where it is missing; and whether by way of a fake."""
        key = _key(entry)
        original, seen = self._source.get(key, ""), {key}
        while original:
            key = _key(original)
            reals = self._reals.get(key)
            if reals:
                home, name = reals[0]
                if len(reals) > 1:
                    home, name = min(reals, key=lambda real: (real[0] is not part, real[1] != original))
                return clip_id(DATASET, ORIGINAL, "", f"{home.name}/{name}"), len(seen) > 1
            original = "" if key in seen else self._source.get(key, "")
            seen.add(key)
        return None, False

    def family(self, entry: str) -> str:
        """The id of the family of an entry that is on disk."""
        return self._ids[self._families.root(_key(entry))]


def _original(entry: str, row: dict[str, Any]) -> str:
    """What a row names as its original; "" where that is nothing, or itself."""
    original = row.get("original") or ""
    return "" if original and _key(original) == _key(entry) else original


@lru_cache(maxsize=2**18)  # each of 120,000 names is asked for a dozen times
def _key(name: str) -> str:
    return folded(name.replace("\\", "/").rstrip("/").rpartition("/")[2])

"""Find the originals of DFDC's fakes. File names are unique over all parts, so one name is one clip."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from mrigan.catalog.clips import ORIGINAL, clip_id
from mrigan.catalog.originals import Union, folded
from mrigan.catalog.readers.common import Problems
from mrigan.catalog.readers.folder import FolderListing

DATASET = "dfdc"


class Part:
    """The folder of a part and the entries of its list, by file name."""

    def __init__(self, path: Path, name: str, entries: dict[str, dict[str, Any]]) -> None:
        self.path, self.name, self.entries = path, name, entries

    @cached_property
    def folder(self) -> FolderListing:
        return FolderListing(self.path, self.path / "metadata.json")

    @cached_property
    def existing(self) -> dict[str, dict[str, Any]]:
        """The entries whose file exists, sorted by name."""
        return {entry: row for entry, row in sorted(self.entries.items()) if self.folder.has(entry)}


def label_of(row: dict[str, Any]) -> str:
    """The label: "real", "fake", or "" = neither."""
    label = str(row.get("label")).lower()
    return label if label in ("real", "fake") else ""


class Originals:
    """Finds the real clip of each fake, and the families: all clips of one name, and all that were made from them.

    Args:
        parts: in their order; the first part with a name gives the family its id.

    Attributes:
        repeated: the names that are in several parts.
    """

    def __init__(self, parts: list[Part]) -> None:
        self.repeated = Problems()
        self._reals: dict[str, list[tuple[Part, str]]] = defaultdict(list)  # key of a name → existing real clips
        self._source: dict[str, str] = {}  # key of a fake → name of the clip it was made from
        self._families = Union()
        existing = [
            (number, part, label, entry, _key(entry), _original(entry, row))
            for number, part in enumerate(parts)
            for entry, row in part.existing.items()
            if (label := label_of(row))
        ]
        holders: dict[str, list[str]] = defaultdict(list)
        for part in parts:  # also fakes that are not on disk: a fake of such a fake is in the same family
            for entry, row in part.entries.items():
                original = _original(entry, row) if len(part.existing) < len(part.entries) else ""
                if original and entry not in part.existing and label_of(row) == "fake":
                    self._source.setdefault(_key(entry), original)
                    self._families.join(_key(entry), _key(original))
        for _, part, label, entry, key, original in existing:
            holders[key].append(part.name)
            if label == "real":
                self._reals[key].append((part, entry))
            elif original:
                self._source.setdefault(key, original)
                self._families.join(key, _key(original))
        first: dict[str, tuple[int, int, str]] = {}  # a real clip; else a missing original; else a fake
        for number, _, label, entry, key, original in existing:
            candidate = (0 if label == "real" else 2, number, entry)
            if label == "fake" and original and _key(original) not in holders:
                candidate = (1, number, original)
            root = self._families.root(key)
            first[root] = min(first.get(root, candidate), candidate)
        self._ids = {
            root: clip_id(DATASET, "" if rank == 2 else ORIGINAL, "", f"{parts[number].name}/{name}")
            for root, (rank, number, name) in first.items()
        }
        for key, names in holders.items():
            if len(names) > 1:
                self.repeated.add("file names are in several parts (taken as one clip)", f"{key}: {', '.join(names)}")

    def of(self, part: Part, entry: str) -> tuple[str | None, bool]:
        """(id of the real clip that a fake was made from or None, whether another fake is in between)."""
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
        """The id of the family of an existing entry."""
        return self._ids[self._families.root(_key(entry))]


def _original(entry: str, row: dict[str, Any]) -> str:
    """The original that a row names; "" if it names none, or itself."""
    original = row.get("original") or ""
    return "" if original and _key(original) == _key(entry) else original


@lru_cache(maxsize=2**18)  # each of 120,000 names is looked up a dozen times
def _key(name: str) -> str:
    return folded(name.replace("\\", "/").rstrip("/").rpartition("/")[2])

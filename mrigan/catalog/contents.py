"""Files that are the same byte for byte, without reading all of them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mrigan.catalog.clips import Catalog, Clip
from mrigan.files import sha256_file

THREADS = 16  # a network file system answers many questions at a time
SAMPLE = 1024  # bytes read at each of three places before a whole file is


def same_contents(catalog: Catalog, clips: list[Clip]) -> Iterator[tuple[str, Clip]]:
    """(hash, clip) of the clips whose file is equal to another file on another side of the split.

    Only files of one size on two sides are opened, and only those that agree in a sample of their bytes are read
    whole. A file that is not there, cannot be read or is empty equals none.
    """
    suspects = [(clip, catalog.path(clip)) for clip in clips]
    found: list[Hashable] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for fingerprint in (_size, _sample, sha256_file):
            found = list(pool.map(_readable(fingerprint), (path for _, path in suspects), chunksize=64))
            kept = _alike(suspects, found)
            suspects, found = [suspects[k] for k in kept], [found[k] for k in kept]
    for (clip, _), digest in zip(suspects, found, strict=True):
        yield f"sha256 {str(digest)[:16]}", clip


def missing_files(catalog: Catalog) -> int:
    """How many clips of `catalog` are not where it says."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(_readable(_size), map(catalog.path, catalog.clips), chunksize=64)).count(None)


def _alike(suspects: list[tuple[Clip, Path]], found: list[Hashable]) -> list[int]:
    """The places of those that share what was found with another file on another side."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, value in enumerate(found):
        if value is not None:
            groups[value].append(index)
    return [
        index
        for members in groups.values()
        if len({suspects[k][0].split for k in members}) > 1 and len({suspects[k][1] for k in members}) > 1
        for index in members
    ]


def _readable(fingerprint: Callable[[Path], Hashable]) -> Callable[[Path], Hashable]:
    def of(path: Path) -> Hashable:
        try:
            return fingerprint(path)
        except OSError:
            return None

    return of


def _size(path: Path) -> int | None:
    return os.stat(path).st_size or None


def _sample(path: Path) -> tuple[int | bytes, ...]:
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        parts = []
        for place in (size // 2, size // 4, max(0, size - SAMPLE)):  # many formats start alike
            file.seek(place)
            parts.append(file.read(SAMPLE))
    return (size, *parts)

"""Files that are the same byte for byte, without reading all of them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mrigan.catalog.clips import Catalog, Clip
from mrigan.files import sha256_file

Found = TypeVar("Found", bound=Hashable)
THREADS = 16  # a network file system answers many questions at a time
CHUNK = 256  # files a thread takes at once
SAMPLE = 1024  # bytes read at each of three places before a whole file is


def file_sizes(catalog: Catalog) -> list[int]:
    """Bytes of each clip's file, in the catalog's order; -1 where there is none."""
    return [-1 if size is None else size for size in _each(_size, _paths(catalog, catalog.clips))]


def same_contents(catalog: Catalog, sizes: Sequence[int]) -> Iterator[tuple[str, Clip]]:
    """(hash, clip) of the clips whose file is equal to another file on another side of the split.

    Only files of one size on two sides are opened, and only those that agree in a sample of their bytes are read
    whole. A file that is not there, cannot be read or is empty equals none.

    Args:
        sizes: see `file_sizes`.
    """
    there = [(clip, size) for clip, size in zip(catalog.clips, sizes, strict=True) if clip.split and size > 0]
    clips = [clip for clip, _ in there]
    found: Sequence[Hashable] = [size for _, size in there]
    paths = _paths(catalog, clips)
    for fingerprint in (None, _sample, sha256_file):
        if fingerprint:
            found = _each(fingerprint, paths)
        kept = _alike(clips, paths, found)
        clips, paths, found = [clips[k] for k in kept], [paths[k] for k in kept], [found[k] for k in kept]
    for clip, digest in zip(clips, found, strict=True):
        yield f"sha256 {str(digest)[:16]}", clip


def _paths(catalog: Catalog, clips: list[Clip]) -> list[str]:
    roots = {dataset: str(root) for dataset, root in catalog.roots.items()}
    return [f"{roots[clip.dataset]}/{clip.path}" for clip in clips]


def _alike(clips: list[Clip], paths: list[str], found: Sequence[Hashable]) -> list[int]:
    """The places of those that share what was found with another file on another side."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, value in enumerate(found):
        if value is not None:
            groups[value].append(index)
    return [
        index
        for members in groups.values()
        if len(members) > 1 and len({clips[k].split for k in members}) > 1 and len({paths[k] for k in members}) > 1
        for index in members
    ]


def _each(fingerprint: Callable[[str], Found], paths: list[str]) -> list[Found | None]:
    """What `fingerprint` finds in each file, None where it cannot be read."""

    def of(chunk: list[str]) -> list[Found | None]:
        found: list[Found | None] = []
        for path in chunk:
            try:
                found.append(fingerprint(path))
            except OSError:
                found.append(None)
        return found

    with ThreadPoolExecutor(THREADS) as pool:
        chunks = pool.map(of, (paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)))
        return [value for chunk in chunks for value in chunk]


def _size(path: str) -> int:
    return os.stat(path).st_size


def _sample(path: str) -> tuple[bytes, ...]:
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        parts = []
        for place in (size // 2, size // 4, max(0, size - SAMPLE)):  # many formats start alike
            file.seek(place)
            parts.append(file.read(SAMPLE))
    return tuple(parts)

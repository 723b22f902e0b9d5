"""Find files with identical bytes without reading all files."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mrigan.catalog.clips import Catalog, Clip
from mrigan.files import sha256_file

Fingerprint = TypeVar("Fingerprint", bound=Hashable)
THREADS = 16  # a network file system serves many requests at a time
FILES_PER_TASK = 256
SAMPLE_BYTES = 1024  # read at each of three positions, before a whole file is read


def file_sizes(catalog: Catalog) -> list[int]:
    """Bytes of each clip's file, in the catalog's order; -1 = no such file."""
    sizes = _each(lambda path: os.stat(path).st_size, _paths(catalog, catalog.clips))
    return [-1 if size is None else size for size in sizes]


def same_contents(catalog: Catalog, sizes: Sequence[int]) -> Iterator[tuple[str, Clip]]:
    """(hash, clip) of the clips whose file is identical to another file in another split.

    Only files of equal size in two splits are opened; only those with an equal sample of bytes are read whole. Missing,
    unreadable and empty files are never identical.

    Args:
        sizes: see `file_sizes`.
    """
    existing = [(clip, size) for clip, size in zip(catalog.clips, sizes, strict=True) if clip.split and size > 0]
    clips = [clip for clip, _ in existing]
    prints: Sequence[Hashable] = [size for _, size in existing]
    paths = _paths(catalog, clips)
    for fingerprint in (None, _sample, sha256_file):
        if fingerprint:
            prints = _each(fingerprint, paths)
        kept = _shared(clips, paths, prints)
        clips, paths, prints = [clips[k] for k in kept], [paths[k] for k in kept], [prints[k] for k in kept]
    for clip, digest in zip(clips, prints, strict=True):
        yield f"sha256 {str(digest)[:16]}", clip


def _paths(catalog: Catalog, clips: list[Clip]) -> list[str]:
    roots = {dataset: str(root) for dataset, root in catalog.roots.items()}
    return [f"{roots[clip.dataset]}/{clip.path}" for clip in clips]


def _shared(clips: list[Clip], paths: list[str], prints: Sequence[Hashable]) -> list[int]:
    """Indices of the clips that share their fingerprint with another file in another split."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, value in enumerate(prints):
        if value is not None:
            groups[value].append(index)
    return [
        index
        for members in groups.values()
        if len(members) > 1 and len({clips[k].split for k in members}) > 1 and len({paths[k] for k in members}) > 1
        for index in members
    ]


def _each(fingerprint: Callable[[str], Fingerprint], paths: list[str]) -> list[Fingerprint | None]:
    """`fingerprint` of each file; None = the file cannot be read."""

    def one(path: str) -> Fingerprint | None:
        try:
            return fingerprint(path)
        except OSError:
            return None

    def several(start: int) -> list[Fingerprint | None]:
        return [one(path) for path in paths[start : start + FILES_PER_TASK]]

    with ThreadPoolExecutor(THREADS) as pool:
        return [value for part in pool.map(several, range(0, len(paths), FILES_PER_TASK)) for value in part]


def _sample(path: str) -> tuple[bytes, ...]:
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        parts = []
        for position in (size // 2, size // 4, max(0, size - SAMPLE_BYTES)):  # not the start: headers are often equal
            file.seek(position)
            parts.append(file.read(SAMPLE_BYTES))
    return tuple(parts)

"""A tar shard with its index and its sidecar. The same samples give the same bytes.

The members of a sample follow each other: face, MRI, json. Owner, group, time and mode are fixed.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, BinaryIO

from mrigan.checked_json import write_checked_json
from mrigan.files import atomic_write, write_text

BLOCK = tarfile.BLOCKSIZE  # bytes of a header, directly before the data of its member
INDEX_VERSION = "v1.2"
MEMBERS = ("face", "mri", "json")  # of a sample, in this order; a sample without an MRI has no `mri`
FACE, JSON = "face.jpg", "json"  # what follows the key in a member's name
# How the name in a member's tar header goes on after the key, by member
NAME_PREFIXES = (b".face.", b".mri.", b".json\0")

Member = tuple[str, bytes]  # extension after the key, data


@dataclass(frozen=True)
class Placed:
    """Where the members of a sample are in the tar.

    Attributes:
        key: of the sample.
        members: (extension, offset of the data, size) each, bytes, in the order of the tar.
        crc32: of the members' data one after another.
    """

    key: str
    members: list[tuple[str, int, int]]
    crc32: int


def mri_member(mri_format: str) -> str:
    """What follows the key in the name of an MRI: `mri.jpg` or `mri.png`."""
    return f"mri.{mri_format}"


def member_header(name: str, size: int) -> bytes:
    """The 512 bytes before a member's data."""
    info = tarfile.TarInfo(name)  # mtime, uid and gid 0, no names, mode 0644
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def padding(size: int) -> bytes:
    """The zeros after `size` bytes of data."""
    return bytes(-size % BLOCK)


def tail(length: int) -> bytes:
    """The zeros that end an archive of `length` bytes: two blocks, and then to a whole record (as GNU tar does)."""
    return bytes(2 * BLOCK + -(length + 2 * BLOCK) % tarfile.RECORDSIZE)


def index_text(samples: Iterable[Placed]) -> str:
    """The index for DALI's reader, as NVIDIA's `wds2idx` writes it: `ext offset size name` for each member."""
    lines = [" ".join(f"{ext} {offset} {size} {sample.key}.{ext}" for ext, offset, size in sample.members)
             for sample in samples]  # fmt: skip
    return "\n".join([f"{INDEX_VERSION} {len(lines)}", *lines]) + "\n"


def sample_size(members: Iterable[int]) -> int:
    """Bytes that a sample takes in a tar, from the sizes of its members."""
    return sum(BLOCK + size + -size % BLOCK for size in members)


def cut(sizes: Sequence[int], most: int, room: int) -> list[range]:
    """Divide samples, in their order, among few archives that keep the limits and are about equally full.

    Args:
        sizes: of the samples, see `sample_size`.
        most: samples in an archive. room: bytes of an archive; only a single sample may be larger.

    Returns:
        The places in `sizes` that go into each archive.
    """
    shares = [max(size * most, room) for size in sizes]  # of an archive that holds room * most
    starts, total = [0, *accumulate(shares)], sum(shares)
    count = -(-total // (room * most))
    while True:
        number = [start * count // total for start in starts[:-1]]
        groups = [list(places) for _, places in groupby(range(len(sizes)), key=number.__getitem__)]
        lengths = [sum(sizes[i] for i in group) for group in groups]
        if all(len(group) == 1 or (len(group) <= most and length + len(tail(length)) <= room)
               for group, length in zip(groups, lengths, strict=True)):  # fmt: skip
            return [range(group[0], group[-1] + 1) for group in groups]
        count += 1


def write_shard(path: Path, samples: Iterable[tuple[str, Sequence[Member]]], facts: dict[str, Any]) -> list[Placed]:
    """Write a tar, its `.idx` and at last its `.json` (`facts`, samples, bytes, sha256), each atomically.

    Args:
        samples: (key, members), in the order of the tar.

    Returns:
        The place of each sample, in the same order.
    """
    placed = []
    with atomic_write(path) as raw:
        file = _Hashing(raw)
        for key, members in samples:
            spots, crc = [], 0
            for extension, data in members:
                file.write(member_header(f"{key}.{extension}", len(data)))
                spots.append((extension, file.length, len(data)))
                file.write(data)
                file.write(padding(len(data)))
                crc = zlib.crc32(data, crc)
            placed.append(Placed(key, spots, crc))
        file.write(tail(file.length))
    write_text(path.with_suffix(".idx"), index_text(placed))
    counts = {"samples": len(placed), "bytes": file.length, "sha256": file.sha256.hexdigest()}
    write_checked_json(path.with_suffix(".json"), {"shard": path.name, **facts, **counts})
    return placed


class _Hashing:
    """A file that counts and hashes what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.length, self.sha256 = file, 0, hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.sha256.update(data)
        self.length += len(data)

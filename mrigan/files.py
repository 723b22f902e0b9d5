"""Outputs appear whole or not at all: atomic writes and content hashes."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary binary file beside `path`; fsync and rename it over `path` when the block ends well.

    The temporary name is that of `temporary_path`; on error it goes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = temporary_path(path)
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync_folder(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def temporary_path(path: Path) -> Path:
    """A new name beside `path`: `.NAME.<process space>-<pid>-<random>.tmp`.

    With a dot in front, no reader takes it for a result; and it tells who writes it (see `writer_is_gone`).
    """
    return path.parent / f".{path.name}.{process_space()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def writer_is_gone(path: Path) -> bool:
    """Whether the process that made this `temporary_path` was of this machine and is dead.

    False where that cannot be known: of a process on another machine or in another container.
    """
    match = re.search(r"\.([0-9a-f]{12})-(\d+)-[0-9a-f]{8}\.tmp$", path.name)
    return match is not None and process_is_gone(match[1], int(match[2]))


def process_is_gone(space: str, pid: int) -> bool:
    """Whether a process of this machine is dead; False where that cannot be known from here (see `process_space`)."""
    return space == process_space() and not _alive(pid)


@cache
def process_space() -> str:
    """12 hex digits that only processes share among which a pid has one meaning: host, its boot, its pid namespace."""
    facts = [socket.gethostname()]
    try:
        facts += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    except OSError:
        facts.append("")  # not Linux: hosts are told apart by their names alone
    return hash_json(facts)[:12]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"  # Z: dead, but its parent has not noticed
    except ProcessLookupError:
        return False
    except OSError:  # another user's; or there is no /proc
        return True


def sync_folder(folder: str | Path) -> None:
    """Make renames in `folder` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, data: Any) -> None:
    """Write `data` as indented JSON, atomically. NaN and infinities are refused: they are not JSON."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def text_encoding(start: bytes) -> str:
    """The encoding of a text, by its first four bytes: UTF-16 as Windows writes it, else UTF-8; a byte order mark is
    passed over."""
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if len(start) >= 2 and 0 in start[:2] and start[:2] != b"\0\0":  # UTF-16 without a mark: ASCII beside NULs
        return "utf-16-be" if start[0] == 0 else "utf-16-le"
    return "utf-8-sig"


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_json(data: Any) -> str:
    """Hex SHA-256 of the canonical JSON of `data` (sorted keys, no spaces)."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()

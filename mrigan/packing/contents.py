"""Fingerprints of the contents of clips: `size-digest-sha256`.

The digest is of the first and last 64 KiB. The SHA-256 is of every byte, which the build has just read; sets of earlier
versions have none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from pathlib import Path

from mrigan.errors import InputError
from mrigan.files import sha256_file
from mrigan.shardset.plan_file import Plan, Unit, clips_of
from mrigan.video import fingerprint


def fingerprints(plan: Plan, unit: Unit, at: Callable[[str], None], unread: Container[str]) -> dict[str, str | None]:
    """The fingerprint of each clip of a unit by its id, None if the clip cannot be read.

    Args:
        at: is called with each file before it is opened. unread: clips (ids) that are not opened.
    """
    prints: dict[str, str | None] = {}
    for clip in clips_of([unit]):
        at(os.fsdecode(plan.path(clip)))
        prints[clip.id] = None if clip.id in unread else whole_fingerprint(plan.path(clip))
    return prints


def whole_fingerprint(path: Path) -> str | None:
    """`size-digest-sha256` of a file, None if it cannot be read."""
    quick, sha256 = _quick(path), _sha256(path)
    return f"{quick}-{sha256}" if quick and sha256 else None


def is_content(path: Path, content: str, whole: bool = False) -> bool:
    """Whether a file still has the fingerprint `content`.

    Args:
        whole: compare every byte, if the fingerprint has a SHA-256; else size, first and last 64 KiB.
    """
    size, digest, *sha256 = content.split("-")
    return _quick(path) == f"{size}-{digest}" and (not whole or not sha256 or _sha256(path) == sha256[0])


def without_sha256(made_of: dict[str, str | None]) -> int:
    """The number of fingerprints without a SHA-256."""
    return sum(content.count("-") == 1 for content in made_of.values() if content)


def _quick(path: Path) -> str | None:
    try:
        size, digest = fingerprint(path)
    except InputError:
        return None
    return f"{size}-{digest}"


def _sha256(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None

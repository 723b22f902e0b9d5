"""Small JSON files with a checksum of all their values, to detect damage.

A file with an edited value or a flipped byte is refused. Spaces and the order of the keys are not covered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrigan.files import hash_json, write_json
from mrigan.foreign_files import parse_json
from mrigan.regular import read_regular

CHECKSUM = "checksum"


def write_checked_json(path: str | Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object and its checksum, atomically."""
    plain = json.loads(json.dumps(dict(data), allow_nan=False))  # as it will be read: tuples are lists, keys are text
    plain.pop(CHECKSUM, None)
    write_json(path, {**plain, CHECKSUM: hash_json(plain)})


def read_checked_json(path: str | Path) -> tuple[dict[str, Any], bool]:
    """`parse_checked_json` of a file. Raises OSError if the file cannot be read, or is not a regular file."""
    return parse_checked_json(read_regular(path))


def parse_checked_json(text: bytes | str) -> tuple[dict[str, Any], bool]:
    """The object in a file without its checksum, and whether there was one: earlier versions wrote none.

    Raises:
        ValueError: the file is damaged; the message says how.
    """
    try:
        data = parse_json(text)
    except ValueError as error:
        raise ValueError(f"it is not a JSON object: {error}") from None
    if not isinstance(data, dict):
        raise ValueError("it is not a JSON object")
    if CHECKSUM not in data:
        return data, False
    checksum = data.pop(CHECKSUM)
    if hash_json(data) != checksum:
        raise ValueError("checksum mismatch: the file was edited or damaged")
    return data, True

"""Small JSON files that notice damage: a checksum of all their values stands among them.

A value that was edited, or a byte that a disk changed, makes the file unreadable instead of another file. Spaces and
the order of the keys are not covered: they change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrigan.files import hash_json, write_json

CHECKSUM = "checksum"


def write_checked_json(path: str | Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object with its checksum, atomically; `read_checked_json` gives it back without."""
    plain = json.loads(json.dumps(dict(data), allow_nan=False))  # as it will be read: tuples are lists, keys are text
    plain.pop(CHECKSUM, None)
    write_json(path, {**plain, CHECKSUM: hash_json(plain)})


def read_checked_json(path: str | Path) -> tuple[dict[str, Any], bool]:
    """The object in a file, and whether it has a checksum: earlier versions wrote none.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged; says how.
    """
    try:
        data = json.loads(Path(path).read_bytes())
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None
    if not isinstance(data, dict):
        raise ValueError("it holds no JSON object")
    if CHECKSUM not in data:
        return data, False
    checksum = data.pop(CHECKSUM)
    if hash_json(data) != checksum:
        raise ValueError("its values do not match the checksum in it: it was edited or damaged")
    return data, True

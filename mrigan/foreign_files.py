"""JSON that strangers made: of a regular file, read up to a limit, each key once, and nested a little."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mrigan.regular import open_regular

MAX_JSON = 4 << 20  # bytes
MAX_DEPTH = 32  # of lists and objects in each other


def read_json(path: str | Path, max_bytes: int = MAX_JSON) -> Any:
    """The JSON value in a file, see `open_regular` (of `mrigan.regular`) and `parse_json`.

    Raises:
        OSError, ValueError: it cannot be read, or is no such JSON; says why.
    """
    with open_regular(path, max_bytes) as file:
        return parse_json(file.read(max_bytes))


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text in which no key stands twice in an object and nothing is nested deeply. NaN, Infinity
    and numbers too large for a float are floats: what becomes of them is the caller's choice.

    Raises:
        ValueError: it is no such JSON.
    """
    try:
        value = json.loads(text, object_pairs_hook=unique_keys)
        json.dumps(value, ensure_ascii=False).encode()  # half a UTF-16 pair, which nothing could write again
    except (RecursionError, MemoryError):
        raise ValueError("its values are nested too deeply") from None
    except UnicodeError:
        raise ValueError("it is no text in UTF-8") from None
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"its values are nested more than {MAX_DEPTH} deep")
        level = [item for outer in level for item in _items(outer)]
    return value


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `object_pairs_hook`: the object; ValueError where a key stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r:.100} stands twice")
    return found

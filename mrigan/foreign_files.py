"""JSON that strangers made: of a regular file, read up to a limit, each key once, and nested a little."""

from __future__ import annotations

import json
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
        if _may_have_half_pairs(text):
            json.dumps(value, ensure_ascii=False).encode()
    except (RecursionError, MemoryError):
        raise ValueError("its values are nested too deeply") from None
    except UnicodeError:
        raise ValueError("it is no text in UTF-8") from None
    level, depth = [value], 0
    while level:  # written for speed: a face's landmarks are 468 lists, and a loader reads them for every picture
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"its values are nested more than {MAX_DEPTH} deep")
        inner: list[Any] = []
        for outer in level:
            if type(outer) is dict:
                inner += outer.values()
            elif type(outer) is list:
                inner += outer
        level = [item for item in inner if type(item) in (dict, list)]
    return value


def _may_have_half_pairs(text: bytes | str) -> bool:
    """Whether there may be half a UTF-16 pair, which nothing could write again."""
    escape, zero = ("\\u", "\0") if isinstance(text, str) else (b"\\u", b"\0")  # zeros: it is UTF-16 itself
    return not text.isascii() or escape in text or zero in text  # type: ignore[operator]


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `object_pairs_hook`: the object; ValueError where a key stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r:.100} stands twice")
    return found

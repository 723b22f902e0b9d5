"""Read the small files of a run's health folder; files of another version and damaged files are ignored."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

R = TypeVar("R")


def read_record(kind: type[R], path: Path) -> R | None:
    """The dataclass `kind` read from a JSON file; None if the file is missing or not such a record.

    Values without a field are ignored, because they are of a later version.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    types = get_type_hints(kind)
    values: dict[str, Any] = {f.name: content[f.name] for f in fields(kind) if f.name in content}  # type: ignore[arg-type]
    if not all(_fits(value, types[name]) for name, value in values.items()):
        return None
    try:
        return kind(**values)
    except TypeError:  # a field is missing
        return None


def _fits(value: Any, expected: Any) -> bool:
    if isinstance(value, bool):
        return expected is bool
    if expected is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, expected)

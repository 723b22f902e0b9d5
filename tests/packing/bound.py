"""Each value of a set's own files: how to change one, and who notices."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mrigan.data import ShardSet
from mrigan.errors import MriganError, ShardError
from mrigan.packing import check_shards
from mrigan.scoring.face_settings import face_settings

MARKER, SIDECAR = "units/val-000000.json", "val-fake-000000.json"
JSONS = ("plan.json", "manifest.json", MARKER, SIDECAR)


def own_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent != folder / "log"]


def small_files(folder: Path) -> list[Path]:
    return [path for path in own_files(folder) if path.suffix != ".tar"]


def found(folder: Path, full: bool = False) -> bool:
    """Whether verify says that something is wrong, in words."""
    try:
        return not check_shards(folder, full=full, workers=1).ok
    except ShardError:
        return True


def content(path: Path) -> Any:
    """What any reader of JSON or Parquet finds in a file."""
    if path.suffix == ".json":
        return json.loads(path.read_bytes())
    if path.suffix == ".parquet":
        return str(pq.ParquetFile(path).read().to_pydict())
    return path.read_bytes()


def trained_on(folder: Path) -> Any:
    """All that a training reads of the set, None where it is refused in words."""
    try:
        sets = [ShardSet.open([folder], split) for split in ("train", "val")]
        samples = [
            (s.hash, s.kind, s.labels.tolist(), s.keys.tolist(), [s.read(i) for i in range(len(s))]) for s in sets
        ]
        return samples, face_settings([folder])
    except MriganError:
        return None


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in a JSON object, those of the checksum and of empty lists too."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inside = [leaf for key, item in items for leaf in leaves(item, (*path, key))]
    yield from inside or [path]


def replaced(data: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """A copy of `data` with one value changed."""
    if not path:
        return change(data)
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = replaced(data[path[0]], path[1:], change)
    return copy


def altered(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    return "x" if value is None else [*value, 0] if isinstance(value, list) else {**value, "x": 0}

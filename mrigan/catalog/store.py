"""A catalog is one Parquet file: a row a clip, the root in the file's metadata."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mrigan.catalog.clips import LABELS, SPLITS, Catalog, Clip
from mrigan.errors import CatalogError
from mrigan.files import atomic_write

SCHEMA = pa.schema(
    [
        ("clip", pa.string()),
        ("dataset", pa.string()),
        ("method", pa.string()),
        ("compression", pa.string()),
        ("name", pa.string()),
        ("path", pa.string()),
        ("label", pa.string()),
        ("original", pa.string()),
        ("targets", pa.list_(pa.string())),
        ("donors", pa.list_(pa.string())),
        ("group", pa.string()),
        ("official_split", pa.string()),
        ("family", pa.string()),
        ("split", pa.string()),
    ]
)
ROOT_KEY = b"mrigan.root"
MAKE_ONE = "make one: mrigan catalog scan dfdc|manifest ROOT -o CATALOG"


def write_catalog(catalog: Catalog, path: str | Path) -> None:
    """Write `catalog` to `path`, whole or not at all; a catalog that lies there is replaced.

    Raises:
        CatalogError: a file that is no catalog (a label file, say) lies at `path`; it is not touched.
    """
    path = Path(path)
    if path.exists() and (not path.is_file() or not _is_catalog(path)):
        raise CatalogError(
            "something else than a catalog is there, and is not overwritten",
            where=path,
            fix="choose another name with -o",
        )
    rows = [{"clip": clip.id, **asdict(clip)} for clip in catalog.clips]
    table = pa.Table.from_pylist(rows, schema=SCHEMA).replace_schema_metadata({ROOT_KEY: str(catalog.root.resolve())})
    with atomic_write(path) as file:
        pq.write_table(table, file)


def read_catalog(path: str | Path) -> Catalog:
    """Read and check a catalog.

    Raises:
        CatalogError: not there, no Parquet, a column missing or of another type, or rows that contradict each other.
    """
    path = Path(path)
    if not path.is_file():
        raise CatalogError("no catalog there", where=path, fix=MAKE_ONE)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise CatalogError(f"not a Parquet file: {error}", where=path, fix="scan the data set again") from None
    root = (table.schema.metadata or {}).get(ROOT_KEY)
    missing = [field.name for field in SCHEMA if field.name not in table.schema.names]
    if missing or root is None:
        lacks = f"column {', '.join(missing)}" if missing else "the root folder in its metadata"
        raise CatalogError(f"this Parquet file is no catalog: it lacks {lacks}", where=path, fix=MAKE_ONE)
    try:
        rows = table.select(SCHEMA.names).cast(SCHEMA).to_pylist()
    except (pa.ArrowException, ValueError) as error:
        raise CatalogError(f"a column has the wrong type: {error}", where=path, fix="scan the data set again") from None
    return Catalog(Path(root.decode()), _check([_clip(row, path) for row in rows], path))


def _clip(row: dict[str, Any], path: Path) -> Clip:
    nulls = [key for key, value in row.items() if value is None and key != "original"]
    if nulls:
        raise CatalogError(f"clip {row['clip']!r} has no value in {', '.join(nulls)}", where=path)
    people = {key: tuple(row[key]) for key in ("targets", "donors")}
    clip = Clip(**{key: row[key] for key in row if key != "clip"} | people)
    if clip.id != row["clip"]:
        raise CatalogError(f"clip {row['clip']!r} is called {clip.id!r} by its columns", where=path)
    return clip


def _check(clips: list[Clip], path: Path) -> list[Clip]:
    by_id = {clip.id: clip for clip in clips}
    if len(by_id) < len(clips):
        raise CatalogError(f"{len(clips) - len(by_id)} clips have the id of another clip", where=path)
    for clip in clips:
        relative = PurePosixPath(clip.path)
        if relative.is_absolute() or ".." in relative.parts or not relative.parts:
            raise CatalogError(f"clip {clip.id} has a path outside the root: {clip.path!r}", where=path)
        if clip.label not in LABELS or clip.split not in ("", *SPLITS):
            raise CatalogError(
                f"clip {clip.id} has label {clip.label!r} and split {clip.split!r}",
                where=path,
                fix=f"labels are {', '.join(LABELS)}; splits are {', '.join(SPLITS)}",
            )
        if clip.original is not None and (clip.original not in by_id or by_id[clip.original].label != "real"):
            raise CatalogError(f"the original of {clip.id} is no real clip of the catalog: {clip.original}", where=path)
    return clips


def _is_catalog(path: Path) -> bool:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return False
    return ROOT_KEY in (schema.metadata or {})

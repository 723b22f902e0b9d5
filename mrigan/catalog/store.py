"""Read and write a catalog: one Parquet file with a row per clip; roots and `Making` are in the file's metadata."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from mrigan.catalog.clips import LABELS, SPLITS, Catalog, Clip, Making
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
        ("source", pa.string()),
        ("donor_sources", pa.list_(pa.string())),
        ("official_split", pa.string()),
        ("family", pa.string()),
        ("split", pa.string()),
    ]
)
LISTS = ("targets", "donors", "donor_sources")
ROOTS_KEY = b"mrigan.roots"
MAKING_KEY = b"mrigan.making"
MAKE_ONE = "make one: mrigan catalog scan READER ROOT -o CATALOG"


def refuse_no_catalog(path: str | Path, force: bool = False) -> None:
    """Raise CatalogError if `path` exists and is neither a catalog nor an empty file.

    Args:
        force: accept any file.
    """
    path = Path(path)
    if not path.exists() or (path.is_file() and (force or not path.stat().st_size or _is_catalog(path))):
        return
    raise CatalogError(
        "this exists and is not a catalog; it was not changed",
        where=path,
        fix="choose another name with -o" + (", or use --force to replace the file" if path.is_file() else ""),
    )


def write_catalog(catalog: Catalog, path: str | Path, force: bool = False) -> None:
    """Write `catalog` to `path` atomically; an existing catalog is replaced.

    Args:
        force: replace any existing file.

    Raises:
        CatalogError: `path` exists and is not a catalog; it was not changed.
    """
    path = Path(path)
    refuse_no_catalog(path, force)
    columns = [[getattr(clip, "id" if name == "clip" else name) for clip in catalog.clips] for name in SCHEMA.names]
    roots = {dataset: str(root.resolve()) for dataset, root in catalog.roots.items()}
    making = {dataset: asdict(made) for dataset, made in catalog.making.items()}
    table = pa.table(columns, schema=SCHEMA).replace_schema_metadata(
        {ROOTS_KEY: json.dumps(roots), MAKING_KEY: json.dumps(making)}
    )
    with atomic_write(path) as file:
        pq.write_table(table, file)


def read_catalog(path: str | Path) -> Catalog:
    """Read and check a catalog.

    Raises:
        CatalogError: no such file, not Parquet, a column is missing or has another type, or rows contradict each other.
    """
    path = Path(path)
    if not path.is_file():
        raise CatalogError("no such catalog", where=path, fix=MAKE_ONE)
    try:
        table = pq.ParquetFile(path).read()  # read_table would import pandas: half a second
    except (pa.ArrowException, OSError) as error:
        raise CatalogError(f"not a Parquet file: {error}", where=path, fix="scan the data set again") from None
    metadata = table.schema.metadata or {}
    missing = [field.name for field in SCHEMA if field.name not in table.schema.names]
    if missing or ROOTS_KEY not in metadata:
        lacks = f"column {', '.join(missing)}" if missing else "the root folders in its metadata"
        raise CatalogError(f"this Parquet file is not a catalog: it lacks {lacks}", where=path, fix=MAKE_ONE)
    try:
        columns = table.select(SCHEMA.names).cast(SCHEMA).to_pydict()
    except (pa.ArrowException, ValueError) as error:
        raise CatalogError(f"a column has the wrong type: {error}", where=path, fix="scan the data set again") from None
    clips = _check(_clips(columns, path), path)
    try:
        roots = {dataset: Path(root) for dataset, root in json.loads(metadata[ROOTS_KEY]).items()}
        making = {dataset: Making(**made) for dataset, made in json.loads(metadata.get(MAKING_KEY, b"{}")).items()}
        return Catalog(roots, clips, making)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CatalogError(f"damaged metadata: {error!r}", where=path, fix="scan the data set again") from None


def _clips(columns: dict[str, list], path: Path) -> list[Clip]:
    ids = columns.pop("clip")
    for name, values in columns.items():
        if name != "original" and None in values:
            raise CatalogError(f"clip {ids[values.index(None)]!r} has no value in {name}", where=path)
    for name in LISTS:
        columns[name] = [tuple(people) for people in columns[name]]
    clips = [Clip(*row) for row in zip(*(columns[field.name] for field in fields(Clip)), strict=True)]
    for key, clip in zip(ids, clips, strict=True):
        if clip.id != key:
            raise CatalogError(f"clip {key!r} has columns that make the id {clip.id!r}", where=path)
    return clips


def _check(clips: list[Clip], path: Path) -> list[Clip]:
    by_id = {clip.id: clip for clip in clips}
    if len(by_id) < len(clips):
        raise CatalogError(f"{len(clips) - len(by_id)} clips have the id of another clip", where=path)
    for clip in clips:
        if not _inside(clip.path):
            raise CatalogError(f"clip {clip.id} has a path outside the root: {clip.path!r}", where=path)
        if clip.label not in LABELS or clip.split not in ("", *SPLITS):
            raise CatalogError(
                f"clip {clip.id} has label {clip.label!r} and split {clip.split!r}",
                where=path,
                fix=f"labels are {', '.join(LABELS)}; splits are {', '.join(SPLITS)}",
            )
        if clip.original is not None and (clip.original not in by_id or by_id[clip.original].label != "real"):
            what = f"the original of {clip.id} is not a real clip of this catalog: {clip.original}"
            raise CatalogError(what, where=path)
    return clips


def _inside(path: str) -> bool:
    if re.fullmatch(r"[\w-][\w. -]*(/[\w-][\w. -]*)*", path):
        return True  # a fast path for usual names: no part can start with a dot
    relative = PurePosixPath(path)
    return not relative.is_absolute() and ".." not in relative.parts and bool(relative.parts)


def _is_catalog(path: Path) -> bool:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return False
    return not {ROOTS_KEY, b"mrigan.root"}.isdisjoint(schema.metadata or {})  # or one of an earlier version

"""landmarks/<source>/<unit>.parquet: landmarks of a unit's faces that were found after the set was built.

A row for each stored sample: its key, its points, or why it has none. Parquet's page checksums detect damage; the
metadata name the plan that the samples are of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mrigan.errors import ShardError
from mrigan.files import atomic_write
from mrigan.regular import reason, require_regular

SOURCES = {"mesh": 468, "dlib": 68}  # who found them → points of a face
NO_FACE = "no_face"  # the source looked, and saw no face
METADATA = b"mrigan.landmarks"
SCHEMA = pa.schema([("key", pa.string()), ("reason", pa.string()), ("points", pa.list_(pa.float32()))])


@dataclass(frozen=True)
class FoundLandmarks:
    """The landmarks of one sample.

    Attributes:
        points: (N, 2) in native px of the clip's own frame; None if there are none.
        reason: why; "" if there are.
    """

    points: NDArray[np.float32] | None
    reason: str = ""


def write_landmarks(path: Path, found: Mapping[str, FoundLandmarks], plan_hash: str) -> None:
    """Write the landmarks of a unit's samples by key, atomically."""
    each = list(found.values())
    columns = {
        "key": list(found),
        "reason": [one.reason for one in each],
        "points": [None if one.points is None else one.points.ravel() for one in each],
    }
    table = pa.table(columns, SCHEMA.with_metadata({METADATA: json.dumps({"plan_hash": plan_hash})}))
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def read_landmarks(path: Path, plan_hash: str) -> dict[str, FoundLandmarks]:
    """What `write_landmarks` wrote; {} if there is no such file.

    Raises:
        ShardError: it is damaged, or of another plan.
    """
    try:
        with pq.ParquetFile(require_regular(path), page_checksum_verification=True) as file:
            table = file.read(use_threads=False).cast(SCHEMA)
            about = json.loads((file.schema_arrow.metadata or {}).get(METADATA, b"{}"))
        if about.get("plan_hash") != plan_hash:
            raise ValueError("it belongs to another plan")
        points = (row.values.to_numpy().reshape(-1, 2) if row.is_valid else None for row in table["points"])
        rows = zip(table["key"].to_pylist(), points, table["reason"].to_pylist(), strict=True)
        return {key: FoundLandmarks(place, why) for key, place, why in rows}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, pa.ArrowException) as error:
        what = f"the landmarks of {path.stem} cannot be used: {reason(error)}"
        raise ShardError(what, where=path, fix="delete it; mrigan shards landmarks DIR finds them again") from None

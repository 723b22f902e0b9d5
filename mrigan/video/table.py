"""Faces on disk: one Parquet a clip, found again by a key of the clip's content and the face settings."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from mrigan.checked_table import CHECKED, read_checked_table, write_checked_table
from mrigan.config import FacesConfig
from mrigan.errors import InputError
from mrigan.files import hash_json
from mrigan.regular import open_regular, reason
from mrigan.video.face import Face, FaceTable

# The settings that find faces
FINDING = ("every", "long_side", "min_face", "thresholds", "factor", "max_persons", "cropped")
NEWER = {"frames": 0, "shrink": 1.0}  # part of a key where they differ from what they were before they existed
CORNERS = ("x0", "y0", "x1", "y1")
MADE = "pyav on cpu"
METADATA = "mrigan.faces"
VERSION = 3  # of detection and tracking; a change of what they find must change every key
HEAD = 1 << 16  # bytes of the clip's head and tail in its fingerprint


def fingerprint(path: str | Path) -> tuple[int, str]:
    """What a clip holds, without reading all of it: its size in bytes, and the SHA-256 of its first and last 64 KiB.

    Raises:
        InputError: the clip cannot be read.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(file.read(HEAD))
            file.seek(max(size - HEAD, 0))
            digest.update(file.read(HEAD))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=os.fsdecode(path)) from None
    return size, digest.hexdigest()


def faces_key(clip_path: str | Path, clip_id: str, config: FacesConfig, made: str = MADE) -> str:
    """Hex key of a clip's faces: its id, its content (see `fingerprint`) and the settings that find faces.

    Margin, size and resize are not part of it: they act when a face is cut, and the detections stay the same.

    Args:
        made: who decoded, and where faces were looked for: other pictures, other boxes.

    Raises:
        InputError: the clip cannot be read.
    """
    settings = {name: getattr(config, name) for name in FINDING} | ({} if made == MADE else {"made": made})
    settings |= {name: value for name, default in NEWER.items() if (value := getattr(config, name)) != default}
    return hash_json([VERSION, clip_id, *fingerprint(clip_path), settings])[:32]


def write_faces(path: str | Path, table: FaceTable, key: str = "") -> None:
    """Write `table` atomically: a row a face; what concerns the whole clip is in the file's metadata."""
    import pyarrow as pa

    faces = table.faces
    corners = {name: pa.array([f.box[i] for f in faces], pa.float64()) for i, name in enumerate(CORNERS)}
    data = pa.table(
        {
            "frame": pa.array([f.frame for f in faces], pa.int32()),
            "time": pa.array([f.time for f in faces], pa.float64()),
            "person": pa.array([f.person for f in faces], pa.int32()),
            **corners,
            "prob": pa.array([f.prob for f in faces], pa.float64()),
            "points": pa.array([[v for p in f.points for v in p] for f in faces], pa.list_(pa.float64())),
        }
    )
    about = {"key": key, "frames": table.frames, "frame_size": list(table.frame_size), "note": table.note}
    write_checked_table(path, data, METADATA, about)


def read_faces(path: str | Path, key: str | None = None) -> FaceTable:
    """Read what `write_faces` wrote.

    Raises:
        InputError: no such file, damaged, or written for another key than the one asked for.
    """
    return read_faces_checked(path, key)[0]


def read_faces_checked(path: str | Path, key: str | None = None) -> tuple[FaceTable, bool]:
    """`read_faces`, and whether the table has a checksum: earlier versions wrote none.

    Raises:
        InputError: as `read_faces`.
    """
    try:
        columns, about = read_checked_table(path, METADATA)
        rows = zip(*(columns[name] for name in ("frame", "time", "person", *CORNERS, "prob", "points")), strict=True)
        faces = [
            Face(frame, time, person, box=tuple(box), prob=prob,
                 points=tuple(zip(points[::2], points[1::2], strict=True)))
            for frame, time, person, *box, prob, points in rows
        ]  # fmt: skip
        made_for = about["key"]
        table = FaceTable(faces, about["frames"], tuple(about["frame_size"]), about["note"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        what = f"no readable table of faces ({reason(error)})"
        raise InputError(what, where=str(path), fix="delete it: it is made again") from None
    if key is not None and made_for != key:
        raise InputError("a table of faces of another clip or other settings", where=str(path), fix="delete it")
    return table, about[CHECKED]

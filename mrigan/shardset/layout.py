"""The files in a shard folder, and the names of units, shards and samples.

plan.json, plan.parquet          the resolved config and the clips, unit by unit
inputs.parquet                   size and time of each clip when the plan was made
faces/<key>.parquet              detections, reused by every later build
<split>-<label>-NNNNNN.tar       samples, with .idx (wds2idx v1.2) and .json (counts, bytes, sha256) beside;
<split>-<label>-NNNNNN-P.tar     P = 1, 2 ...: the rest of a unit that gave more than one shard may hold
units/<split>-NNNNNN.parquet     all rows of a unit, and its done marker .json, written last
samples.parquet, manifest.json   all rows in plan order and the totals, once every unit is done
landmarks/<source>/<unit>.parquet   landmarks that were found later; see `mrigan.shardset.landmarks`
log/<split>-NNNNNN.json          when and where a unit was built, or why not; everything that varies between builds

All files but the log and the landmarks are bound: each JSON file has a checksum of its own values; plan.json has the
SHA-256 of plan.parquet, a marker those of its table and its shards, the manifest that of samples.parquet and of all
markers. inputs.parquet names its plan and has a checksum of its rows, as each table of detections has.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from mrigan.checked_json import parse_checked_json

FORMAT = 4  # raised whenever the same config and catalog give other bytes
FORMATS = (2, 3, 4)  # that can be read
CHECKED = 4  # the first format whose JSON files and tables of detections and inputs have checksums
CLIP_KEY_LENGTH = 12  # characters of a sample's key that are the key of its clip
SHARD_NAME = r"[\w-]+\.tar"  # pattern of a shard's file name in a manifest


def unit_name(split: str, number: int) -> str:
    """`train-000000`."""
    return f"{split}-{number:06d}"


def shard_name(split: str, label: str, number: int, part: int = 0) -> str:
    """`train-fake-000000.tar`, and `train-fake-000000-1.tar` for the next part of the unit."""
    return f"{split}-{label}-{number:06d}{f'-{part}' if part else ''}.tar"


def unit_of(shard: str) -> str:
    """The unit of a shard: `train-000000`; "" if this is not the name of a shard."""
    match = re.fullmatch(r"(\w+)-(real|fake)-(\d{6})(-\d+)?\.tar", shard)
    return f"{match[1]}-{match[3]}" if match else ""


def clip_key(clip: str) -> str:
    """The first hex digits of the SHA-1 of a clip's id."""
    return hashlib.sha1(clip.encode(), usedforsecurity=False).hexdigest()[:CLIP_KEY_LENGTH]


def sample_key(clip: str, frame: int, person: int) -> str:
    """`<sha1(clip id)[:12]>-<frame, 6 digits>-<person, 2 digits>`; without dots, which would merge samples in a tar."""
    return f"{clip_key(clip)}-{frame:06d}-{person:02d}"


def parse_json(text: bytes, format: int = 0) -> dict[str, Any]:
    """One of a set's JSON files.

    Args:
        format: of its set; 0 = as the file itself says.

    Raises:
        ValueError: it is damaged, has lost its checksum, or is of an unknown format; the message says how.
    """
    data, has_checksum = parse_checked_json(text)
    format = format or data.get("format", 0)
    if format and format not in FORMATS:
        raise ValueError(f"it is of format {format!r}; this version reads the formats {', '.join(map(str, FORMATS))}")
    if format >= CHECKED and not has_checksum:
        raise ValueError("it has lost its checksum")
    return data


class Layout:
    """The paths in a shard folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plan, self.clips, self.inputs = root / "plan.json", root / "plan.parquet", root / "inputs.parquet"
        self.faces, self.units, self.log = root / "faces", root / "units", root / "log"
        self.samples, self.manifest = root / "samples.parquet", root / "manifest.json"

    def unit_rows(self, unit: str) -> Path:
        return self.units / f"{unit}.parquet"

    def unit_marker(self, unit: str) -> Path:
        return self.units / f"{unit}.json"

    def unit_log(self, unit: str) -> Path:
        return self.log / f"{unit}.json"

    def unit_landmarks(self, source: str, unit: str) -> Path:
        return self.root / "landmarks" / source / f"{unit}.parquet"

    def shard(self, name: str) -> Path:
        return self.root / name

    def shards_of(self, split: str, label: str, number: int) -> list[Path]:
        """The existing shards of a unit."""
        first = self.shard(shard_name(split, label, number))
        return [*self.root.glob(first.name), *sorted(self.root.glob(f"{first.stem}-*{first.suffix}"))]

    def index(self, name: str) -> Path:
        return (self.root / name).with_suffix(".idx")

    def sidecar(self, name: str) -> Path:
        return (self.root / name).with_suffix(".json")


NAMES = Layout(Path())  # names relative to the set
FOLDERS = ("", *(path.as_posix() for path in (NAMES.units, NAMES.faces, NAMES.log)))

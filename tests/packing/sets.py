"""What a small set holds, read by plain `tarfile` and OpenCV."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mrigan.config import ShardsConfig
from mrigan.packing import plan_shards
from tests.packing.conftest import make


def samples(catalog: Path, out: Path, config: ShardsConfig) -> dict[str, dict[str, Any]]:
    """Key → `json`, `face.jpg`, `mri.png`, ... decoded, of a set that one worker makes in this process."""
    plan = plan_shards(catalog, config, out)
    make(plan)
    found: dict[str, dict[str, Any]] = {}
    for shard in sorted(out.glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                data = tar.extractfile(member).read()
                decoded = json.loads(data) if kind == "json" else cv2.imdecode(np.frombuffer(data, np.uint8), 1)
                found.setdefault(key, {})[kind] = decoded
    return found

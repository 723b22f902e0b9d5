"""Workers are forked from a process that has used OpenCV, whose thread pool does not survive a fork."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FORKS = 12  # of 400 children forked beside a live pool, 57 hung: here one run in six would still pass without the cure

LOADS = """
import sys
import cv2, numpy as np
from mrigan.data import ShardSet, eval_batches
cv2.setNumThreads(4)
shards = ShardSet.open([sys.argv[1]], "train")
picture = np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)
for _ in range(int(sys.argv[2])):
    cv2.warpAffine(picture, np.eye(2, 3), (600, 600))  # wakes the pool
    cv2.GaussianBlur(picture, (11, 11), 2)
    with eval_batches(shards, range(4), 4, workers=1, size=32) as batches:
        assert len(next(batches)) == 4
assert cv2.getNumThreads() == 4
"""


def test_workers_start_beside_opencvs_threads(pairs: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOADS, str(pairs), str(FORKS)], cwd=ROOT, capture_output=True,
                          text=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr

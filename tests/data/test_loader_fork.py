"""Workers are forked from a process that has used OpenCV, whose thread pool does not survive a fork.

Of 400 children forked right after a call of OpenCV, 57 hung in `cv2.setNumThreads`; none where the pool ended first.
"""

from __future__ import annotations

from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import pytest

from mrigan.data import ShardSet, eval_batches


def test_opencvs_threads_rest_while_workers_start(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_fork, start = [], BaseProcess.start

    def watched(process: BaseProcess) -> None:
        at_fork.append(cv2.getNumThreads())
        start(process)

    monkeypatch.setattr(BaseProcess, "start", watched)
    before = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        shards = ShardSet.open([pairs], "train")
        with eval_batches(shards, range(4), 2, workers=2, workers_are="processes", size=32) as batches:
            assert [len(batch) for batch in batches] == [2, 2]
        assert cv2.getNumThreads() == 4  # and are back afterwards
    finally:
        cv2.setNumThreads(before)
    assert at_fork == [1, 1]

"""Killed at each write in turn, or on a disk that fills there, checkpoints, models and the small files of a run end in
the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrigan.files import FAILPOINT, failpoint, write_text
from tests.kills import script

HEAD = """
import json, shutil, sys
from pathlib import Path
import torch
from tests.kills import same_after_each

root = Path(sys.argv[1])
"""

CHECKPOINTS = """
from mrigan.engine.checkpoint import CheckpointStore
from tests.engine.test_checkpoint import files

def work(folder):
    store = CheckpointStore(folder / "checkpoints", 2)
    found = store.recover()
    for step in range(found.step + 1 if found else 1, 5):
        store.save(step, files(step), {"note": "é"}, 1.0 if step == 1 else 0.0)
        (folder / "said").write_text(str(step))  # what the work has reported to be done
    (folder / "said").write_text("4")

def see(folder):
    said, found = folder / "said", CheckpointStore(folder / "checkpoints").recover()
    saved = int(said.read_text()) if said.exists() else 0
    step = found.step if found else 0
    assert saved <= step <= saved + 1, (saved, step)
    if found:
        assert torch.equal(found.tensors("net")["n"], torch.tensor(step))
    assert not list(folder.rglob("damaged-*"))

start = lambda folder: folder.mkdir(parents=True)
same_after_each(work, root / "kills", least=45, start=start, see=see)
same_after_each(work, root / "full", "checkpoint.begun", least=4, full=True, start=start, see=see)
same_after_each(work, root / "full 2", "tensors.part", least=4, full=True, start=start, see=see)
"""

MODEL = """
from mrigan.errors import ModelError
from mrigan.config import GanConfig
from mrigan.models import Detector, load_bundle, save_bundle
from mrigan.training.run_folder import RunFolder

torch.manual_seed(0)
detectors = [Detector("test_efficientnet", "random", 64) for _ in range(2)]
faces = {"size": 64}

def work(folder):
    run = RunFolder(folder)
    run.open(GanConfig(), {"kind": "gan"}, False)  # removes what was left
    for detector in detectors:  # the second replaces the first
        save_bundle(run.model, detector, faces=faces, thresholds={"frame": 0.5, "fraction": 0.5})
    run.close()

def see(folder):
    if (folder / "model").exists():
        load_bundle(folder / "model")

same_after_each(work, root / "kills", least=15, see=see)
same_after_each(work, root / "full", "write.begun", least=2, full=True, see=see)
"""

RUN_FILES = """
from mrigan.config import GanConfig
from mrigan.tracking import Run
from mrigan.tracking.log import LineLog
from mrigan.training.run_folder import RunFolder

def work(folder):
    run = RunFolder(folder)
    run.open(GanConfig(), {"kind": "gan"}, False)
    log, events = Run(folder), LineLog(folder / "tracking.jsonl")
    log.rewind(0)
    for step in range(1, 4):
        log.log_metrics({"loss": step / 2}, step)
        run.set_status("running", step=step)
    if not events.read()[0]:
        events.append({"kind": "tags", "tags": {"é": "1"}})
    assert events.read()[0] == [{"kind": "tags", "tags": {"é": "1"}}]
    assert [(row["step"], row["loss"]) for row in LineLog(run.metrics).read()[0]] == [(1, 0.5), (2, 1.0), (3, 1.5)]
    run.metrics.unlink()  # its times differ
    run.set_status("finished", step=3)
    run.close()

def see(folder):
    RunFolder(folder).status()

same_after_each(work, root / "kills", least=26, see=see)
same_after_each(work, root / "full", "write.begun", least=5, full=True, see=see)
"""


@pytest.mark.parametrize("kind", ["CHECKPOINTS", "MODEL", "RUN_FILES"])
def test_at_each_write(tmp_path: Path, kind: str) -> None:
    script(HEAD + globals()[kind], tmp_path)


def test_a_failpoint_is_off_unless_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FAILPOINT, raising=False)
    failpoint("write.begun", "a")
    monkeypatch.setenv(FAILPOINT, "another 1")
    write_text(tmp_path / "a", "b")
    assert (tmp_path / "a").read_text() == "b"

"""A training that is killed at each write in turn, and started again, ends in the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = """
import hashlib, shutil, sys
from pathlib import Path
from mrigan.training.launch import launch
from mrigan.training import gan
from tests.kills import kill_at_each
from tests.training.runs import logged, status

root, shards, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
run, whole = root / "run", root / "whole"
words = [f"data.shards={shards}", f"run.dir={run}", "tracking.enabled=false", "train.steps=3", "checkpoint.every=2",
         "eval.every=2", "checkpoint.keep=2", "tracking.log_every=1"]

def work():
    assert launch("gan", "gan/cpu-smoke.yaml", words, False) == 0

def begin():
    shutil.rmtree(run, ignore_errors=True)

def tree(folder):
    paths = [folder / "config.json", folder / "run.json", *(folder / "checkpoints").rglob("*"),
             *(folder / "model").rglob("*")]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths if p.is_file()}

def forked(work):
    import os
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

def check():
    forked(work)
    assert tree(run) == tree(whole), set(tree(run).items()) ^ set(tree(whole).items())
    assert logged(run) == logged(whole)
    assert (status(run)["state"], status(run)["step"]) == ("finished", 3)
    assert not [p for p in run.rglob(".*") if p.name != ".lock"]

forked(work)
shutil.copytree(run, whole)
count = kill_at_each(work, begin, check, name)
assert count >= 4, count
print(count)
"""


@pytest.mark.faults
@pytest.mark.parametrize("name", ["checkpoint", "metrics", "write"])
def test_killed_at_each_write_of_a_training(shards: Path, tmp_path: Path, name: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    script = [sys.executable, "-c", SCRIPT, str(tmp_path), str(shards), name]
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

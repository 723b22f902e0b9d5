"""A training that is killed at each write in turn, or stopped by a signal, and started again, ends with its model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mrigan.health.status import read_status
from mrigan.pose.train import train_pose
from tests.conftest import ROOT
from tests.data.shards import write_shards
from tests.kills import script
from tests.pose.test_train import config, heads

KILLS = """
import shutil, sys
from pathlib import Path
from mrigan.evaluation import read_scores
from mrigan.health.status import read_status
from mrigan.pose.model import load_pose_model
from mrigan.pose.train import train_pose
from tests.kills import kill_at_each
from tests.pose.test_train import config

root = Path(sys.argv[1])
run, whole = root / "run", root / "whole"

def work(folder=run):
    train_pose(config(root / "shards", folder, "run.name=run"))

def scores(folder):
    return read_scores(folder / "scores-val.parquet").drop_columns("model")

def check():
    work()
    assert load_pose_model(run / "model").svm.pipeline is not None
    assert scores(run).equals(scores(whole))
    assert read_status(run)["state"] == "finished"
    assert (run / "metrics.jsonl").read_text().count("val/auc") == 1
    assert not list(run.rglob(".*.tmp"))

work(whole)
count = kill_at_each(work, lambda: shutil.rmtree(run, ignore_errors=True), check)
assert count >= 10, count
"""
STOPPED = """
import os, signal, sys
from mrigan.pose.svm import PoseSvm
from mrigan import cli

def fit(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()

PoseSvm.fit = fit
cli.main()
"""


def small_set(folder: Path) -> Path:
    return write_shards(folder, [*heads(12, 12, "train", 2), *heads(8, 8, "val", 3)], kind="faces")


@pytest.mark.faults
def test_at_each_write(tmp_path: Path) -> None:
    small_set(tmp_path / "shards")
    script(KILLS, tmp_path)


def test_a_signal_stops_it_and_the_same_command_goes_on(tmp_path: Path) -> None:
    shards, run = small_set(tmp_path / "shards"), tmp_path / "run"
    words = ["train", "pose", "pose/mesh.yaml", f"data.shards={shards}", f"run.dir={run}", "tracking.enabled=false"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    stopped = subprocess.run([sys.executable, "-c", STOPPED, *words], env=environment, capture_output=True, check=False)
    assert (stopped.returncode, b"Traceback" in stopped.stderr) == (75, False)
    assert read_status(run)["state"] == "stopped"
    assert not (run / "model").exists()
    train_pose(config(shards, run))
    assert read_status(run)["state"] == "finished"

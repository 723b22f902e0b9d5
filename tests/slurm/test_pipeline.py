"""slurm/pipeline.sh: the chain of jobs, to its end; and what becomes of it when a link breaks."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.slurm.cluster import Cluster, Job
from tests.training.runs import status, write_tiny_shards

pytestmark = pytest.mark.slurm

SMALL = ["--train", "--cpus-per-task=1 --time=10", "--evaluate", "--cpus-per-task=1 --time=10"]
FEW = "train.steps=4 eval.every=2 checkpoint.every=2 tracking.enabled=false data.workers=0"


def chain(cluster: Cluster, shards: Path, out: Path, *words: str) -> dict[str, Job]:
    """Submit the chain; its jobs by name."""
    said = cluster.call("slurm/pipeline.sh", shards, out, *SMALL, *words, check=True)
    ids = dict(re.findall(r"^(\w+): job (\d+)$", said, re.MULTILINE))
    return {name: cluster.job(id, out / "logs" / f"mrigan-{name}-{id}.log") for name, id in ids.items()}


def test_from_videos_to_a_report(cluster: Cluster, tmp_path: Path) -> None:
    mrigan = [cluster.environment["MRIGAN_PYTHON"], "-m", "mrigan.cli"]
    for words in (
        ["sample", "sample", "--people", "6", "--seconds", "0.8"],
        ["catalog", "scan", "dfdc", "sample", "-o", "catalog.parquet"],
        ["shards", "plan", "catalog.parquet", "-o", "shards", "--config", "shards/demo.yaml"],
    ):
        cluster.call(*mrigan, *words, check=True, cwd=tmp_path)
    shards, out = tmp_path / "shards", tmp_path / "out"
    jobs = chain(
        cluster, shards, out,
        "--build", "--array=0-1 --cpus-per-task=1 --time=10",
        "--gan", f"gan/cpu-smoke.yaml {FEW}",
        "--detector", f"detector/cpu-smoke.yaml data.input=mri {FEW}",
        "--report", "--device cpu --workers 0",
    )  # fmt: skip
    assert list(jobs) == ["build", "finish", "gan", "detector", "evaluate"]
    assert [jobs[name].state for name in ("gan", "detector", "evaluate")] == ["PENDING"] * 3
    for name in ("gan", "detector", "evaluate"):
        jobs[name].wait(patience=300)
    assert status(out / "gan")["state"] == status(out / "detector")["state"] == "finished"
    results = json.loads((out / "report" / "metrics.json").read_text())["results"]
    assert [result["split"] for result in results] == ["test"]
    assert (out / "report" / "index.html").is_file()

    again = chain(cluster, shards, out, "--gan", f"gan/cpu-smoke.yaml {FEW}",
                  "--detector", f"detector/cpu-smoke.yaml data.input=mri {FEW}")  # fmt: skip
    again["gan"].wait()
    assert "build" not in again
    assert "is finished" in again["gan"].log  # and nothing was trained twice


def test_a_broken_link_cancels_the_rest(cluster: Cluster, tmp_path: Path) -> None:
    """Nobody waits for ever for what can never be."""
    shards = write_tiny_shards(tmp_path / "shards")
    jobs = chain(cluster, shards, tmp_path / "out", "--gan", "gan/cpu-smoke.yaml loss.tauu=1",
                 "--detector", "detector/cpu-smoke.yaml data.input=mri")  # fmt: skip
    jobs["gan"].wait("FAILED")
    for name in ("detector", "evaluate"):
        jobs[name].wait("CANCELLED")
    assert "did you mean loss.tau?" in jobs["gan"].log


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "shards plan catalog.parquet"),
        (["SHARDS"], "shards plan catalog.parquet"),
        (["SHARDS", "OUT"], "SHARDS is not planned"),
        (["SHARDS", "OUT", "--trian", "x"], "unknown option --trian"),
        (["SHARDS", "OUT", "--train"], "--train needs a value"),
    ],
)
def test_wrong_words(tmp_path: Path, words: list[str], says: str) -> None:
    command = [ROOT / "slurm" / "pipeline.sh", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_detector_without_a_start_is_refused_before_days_of_training(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "plan.json").write_text("{}")
    command = [ROOT / "slurm" / "pipeline.sh", "shards", "out"]
    for words in ([], ["--detector", "detector/face.yaml model.weights="]):
        done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2
        assert "model.weights=FILE" in done.stderr
    assert not (tmp_path / "out").exists()

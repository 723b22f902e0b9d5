"""The main job by the commands that README shows: from videos to a verdict, on a small embedded sample."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mrigan.cli.app import app


def mrigan(*words: str | Path) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command of the main job has run."""
    folder = tmp_path_factory.mktemp("job")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(folder)
        mrigan("sample", "sample", "--people", 6, "--seconds", 0.8)
        mrigan("catalog", "scan", "dfdc", "sample", "-o", "catalog.parquet")
        mrigan("catalog", "audit", "catalog.parquet")
        mrigan("shards", "plan", "catalog.parquet", "-o", "shards", "--config", "shards/demo.yaml")
        mrigan("shards", "build", "shards")
        mrigan("shards", "verify", "shards")
        data = ["data.shards=shards", "train.steps=4", "eval.every=2", "checkpoint.every=2"]
        mrigan("train", "gan", "gan/cpu-smoke.yaml", "run.dir=gan", *data)
        generator = "model.generator=gan/model/generator.safetensors"
        for name in ("face", "mri"):
            own = [f"run.dir={name}", f"data.input={name}", generator]
            mrigan(
                "train", "detector", "detector/cpu-smoke.yaml", "--register", *own, *data
            )  # four steps teach nothing
            mrigan("models", "promote", f"mrigan-{name}", 1)
        models = ["--model", "models:/mrigan-face@champion", "--model", "mri/model"]
        mrigan("evaluate", *models, "--shards", "shards", "-o", "report")
        mrigan("evaluate", "--scores", "report/scores.parquet", "-o", "again")
    return folder


def test_both_models_are_measured_on_every_test_video(job: Path) -> None:
    results = json.loads((job / "report" / "metrics.json").read_text())["results"]
    assert [(result["split"], result["video"]["n"]) for result in results] == [("test", 10), ("test", 10)]
    rows = pq.read_table(job / "catalog.parquet").to_pylist()
    assert sum(row["split"] == "test" for row in rows) == 10


def test_the_tables_can_be_made_again_from_the_scores(job: Path) -> None:
    first, again = (json.loads((job / name / "metrics.json").read_text()) for name in ("report", "again"))
    assert first["results"] == again["results"]


def test_the_champion_gives_a_verdict_on_videos_never_seen(job: Path) -> None:
    command = [sys.executable, "-m", "mrigan.cli", "detect", "sample/unseen"]
    outputs = ["--json", "verdict.json", "--html", "verdict.html"]
    result = subprocess.run([*command, *outputs], cwd=job, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    verdicts = json.loads((job / "verdict.json").read_text())
    assert [Path(verdict["path"]).name for verdict in verdicts] == ["fake.mp4", "real.mp4"]
    for verdict in verdicts:
        assert verdict["model"]["name"] == "models:/mrigan-face@champion"
        assert verdict["verdict"] in ("fake", "real", "undecided")
    assert "data:image/jpeg;base64," in (job / "verdict.html").read_text()


def test_nothing_but_outputs_was_written(job: Path) -> None:
    marker = json.loads((job / "sample" / "sample.json").read_text())
    there = {str(path.relative_to(job / "sample")) for path in (job / "sample").rglob("*") if path.is_file()}
    assert there == {*marker["files"], "sample.json"}
    assert not list(job.rglob("*.tmp"))

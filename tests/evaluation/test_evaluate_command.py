"""`mrigan evaluate --scores`: exit codes and messages of the real command."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.errors import ConfigError, InputError
from mrigan.evaluation import write_scores
from tests.conftest import ROOT
from tests.evaluation.tables import random_table, table, video


@pytest.fixture
def files(tmp_path):
    scores = random_table(videos=(("val", 6), ("test", 6)))
    paths = []
    for model in ("face", "mri"):
        paths.append(str(tmp_path / f"{model}.parquet"))
        write_scores(scores.filter([m == model for m in scores["model"].to_pylist()]), paths[-1])
    return paths


def _run(*arguments: str):
    return CliRunner().invoke(app, ["evaluate", *arguments])


@pytest.mark.parametrize("repeated", [True, False], ids=["--scores A --scores B", "--scores A B"])
def test_several_files_stand_side_by_side(files, tmp_path, repeated):
    arguments = ["--scores", files[0], *(["--scores"] if repeated else []), files[1]]
    result = _run(*arguments, "-o", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "out" / "index.html") in result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [r["model"] for r in metrics["results"] if r["split"] == "test"] == ["face", "mri"]


def test_thresholds_can_be_given(files, tmp_path):
    assert _run("--scores", files[0], "--thresholds", "0.8,0.3", "-o", str(tmp_path / "out")).exit_code == 0
    thresholds = json.loads((tmp_path / "out" / "metrics.json").read_text())["results"][0]["thresholds"]
    assert thresholds == {"frame": 0.8, "fraction": 0.3, "source": "given"}


@pytest.mark.parametrize("text", ["0.8", "a,b", "0.8,0.3,0.1", "1.2,0.3", "nan,0.3", "1,0.3", "0.8,0"])
def test_wrong_thresholds_are_wrong_use(files, tmp_path, text):
    result = _run("--scores", files[0], "--thresholds", text, "-o", str(tmp_path / "out"))
    assert isinstance(result.exception, ConfigError)
    assert "FRAME,FRACTION" in str(result.exception)


@pytest.mark.parametrize("arguments", [[], ["--model", "m"], ["--shards", "s"], ["--scores", "s", "--model", "m"]])
def test_neither_or_both_is_wrong_use(tmp_path, arguments):
    assert isinstance(_run(*arguments, "-o", str(tmp_path / "out")).exception, ConfigError)


def test_a_missing_file_is_named(tmp_path):
    result = _run("--scores", str(tmp_path / "none.parquet"), "-o", str(tmp_path / "out"))
    assert isinstance(result.exception, InputError)
    assert "none.parquet" in str(result.exception)


@pytest.mark.parametrize("start", [["-m", "mrigan.cli", "evaluate"], ["launch/evaluate.py"]], ids=["mrigan", "launch"])
def test_the_process_ends_with_a_code_and_a_message(tmp_path, start):
    write_scores(table(video("a", 0, [0.1])).drop_columns(["label"]), tmp_path / "x.parquet")
    command = [sys.executable, *start, "--scores", str(tmp_path / "x.parquet"), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the scores lack the column label" in done.stderr
    assert "Traceback" not in done.stderr

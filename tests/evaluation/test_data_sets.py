"""Scores of several data sets, file by file, in one table: page, CSV and console."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.evaluation import write_scores
from tests.evaluation.tables import random_table, table, video, with_families


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Scores of two models on `celeb-df`, of one of them on `dfdc`; of a third data set with fakes alone."""
    both = random_table(seed=1, videos=(("test", 40),))
    other = random_table(seed=2, models=("face",), videos=(("test", 60),))
    paths = {name: tmp_path / name / "scores.parquet" for name in ("celeb-df", "dfdc", "fakes")}
    for (name, path), scores in zip(paths.items(), (both, other), strict=False):
        names = pa.array([name] * len(scores))
        plain = pa.array([""] * len(scores))
        write_scores(with_families(scores.set_column(0, "dataset", names).set_column(2, "compression", plain)), path)
    write_scores(table(video("a.mp4", 1, [0.9], dataset="fakes", compression="", model="face")), paths["fakes"])
    return paths


def _run(out: Path, *files: Path) -> str:
    arguments = [part for file in files for part in ("--scores", str(file))]
    done = CliRunner().invoke(app, ["evaluate", *arguments, "--thresholds", ".5,.5", "-o", str(out)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def auc_of_videos(path: Path) -> float:
    """By scikit-learn, of the mean probability of each video's faces."""
    by_video: dict[str, list[dict]] = {}
    for row in pq.read_table(path).to_pylist():
        if row["frame"] >= 0:
            by_video.setdefault(row["name"], []).append(row)
    labels = [rows[0]["label"] for rows in by_video.values()]
    return float(roc_auc_score(labels, [np.mean([row["prob"] for row in rows]) for rows in by_video.values()]))


def test_one_table_of_several_score_files(files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = _run(out, *files.values())
    results = {r["model"]: r for r in json.loads((out / "metrics.json").read_text())["results"]}
    rows = {row["dataset"]: row for row in results["face"]["data_sets"]}
    assert list(rows) == ["celeb-df", "dfdc", "fakes"]
    _run(tmp_path / "alone", files["dfdc"])
    [alone] = json.loads((tmp_path / "alone/metrics.json").read_text())["results"]
    assert rows["dfdc"]["video"] == alone["video"]
    assert rows["dfdc"]["intervals"] == alone["intervals"]  # drawn within the data set
    assert alone["video"]["auc"] == pytest.approx(auc_of_videos(files["dfdc"]))
    assert f"{alone['video']['auc']:.3f}" in told
    assert not (tmp_path / "alone/tables/test/data-sets.csv").exists()
    assert rows["fakes"]["video"]["auc"] is None
    lines = list(csv.DictReader((out / "tables/test/data-sets.csv").open()))
    assert [line["dataset"] for line in lines] == ["celeb-df", "dfdc", "fakes"]
    for line in lines[:2]:
        figures = rows[line["dataset"]]
        assert float(line["face auc"]) == figures["video"]["auc"]
        assert [float(line[f"face auc {end}"]) for end in ("low", "high")] == figures["intervals"]["video"]["auc"]
        assert float(line["face coverage"]) == figures["video"]["coverage"]
    [only] = results["mri"]["data_sets"]  # scored on one of the three
    assert [line["mri auc"] for line in lines] == [str(only["video"]["auc"]), "", ""]
    assert (lines[2]["face auc"], lines[2]["fake"], lines[2]["real"]) == ("", "1", "0")
    page = (out / "index.html").read_text()
    assert "Across data sets" in page
    assert f"{rows['dfdc']['video']['eer']:.3f}" in page

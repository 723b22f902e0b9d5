"""Robustness: figures from scores against scikit-learn, and the whole command on real shards and a real model."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config import FacesConfig, to_dict
from mrigan.evaluation import check_scores
from mrigan.evaluation.robustness import SCHEMA, measure_robustness, write_robustness
from mrigan.imaging.corruptions import CORRUPTIONS
from mrigan.models import Detector, save_bundle
from mrigan.scoring import robustness
from mrigan.scoring.parts import Parts
from tests.evaluation.tables import random_table
from tests.training.runs import write_tiny_shards

LEVELS = {"blur": ((1.0, 2.0, 3.0, 4.0, 5.0), "px")}


def scores() -> pa.Table:
    """Under blur a model's probabilities go towards .5, and the worst step is a coin toss."""
    clean = check_scores(random_table(videos=(("test", 40),)))
    clean = clean.filter(pa.compute.greater_equal(clean["frame"], 0))
    rng, parts = np.random.default_rng(0), []
    for severity in range(6):
        probs = clean["prob"].to_numpy()
        if severity == 5:
            probs = rng.permutation(probs)
        part = clean.set_column(clean.column_names.index("prob"), "prob", pa.array(probs))
        part = part.append_column("corruption", [["blur" if severity else "clean"] * len(part)])
        parts.append(part.append_column("severity", pa.array([severity] * len(part), pa.int32())))
    return pa.concat_tables(parts).select(SCHEMA.names).cast(SCHEMA)


def test_figures_are_those_of_the_rows(tmp_path: Path) -> None:
    table = scores()
    limits = {name: {"frame": 0.5, "fraction": 0.5} for name in ("face", "mri")}
    rows = write_robustness(table, limits, LEVELS, tmp_path)
    assert len(rows) == 12
    worst = next(r for r in rows if r["model"] == "face" and r["severity"] == 5)
    mine = [r for r in table.to_pylist() if r["model"] == "face" and r["severity"] == 5]
    assert worst["frame_auc"] == pytest.approx(roc_auc_score([r["label"] for r in mine], [r["prob"] for r in mine]))
    first = next(r for r in rows if r["model"] == "face" and r["severity"] == 0)
    assert first["auc"] > worst["auc"]
    assert rows == measure_robustness(table, limits)
    told = list(csv.DictReader((tmp_path / "robustness.csv").open()))
    assert [float(line["auc"]) for line in told] == pytest.approx([row["auc"] for row in rows])
    page = (tmp_path / "robustness.html").read_text()
    assert "<svg" in page
    for key in ("auc", "balanced_accuracy"):
        assert f"<td>{first[key]:.3f}</td>" in page
        assert f"<td>{worst[key]:.3f}</td>" in page
    assert (tmp_path / "robustness.png").stat().st_size > 10_000


def test_interrupted_it_goes_on_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = write_tiny_shards(tmp_path / "shards")
    detector = Detector("test_efficientnet.r160_in1k", size=64, hidden=8)
    save_bundle(tmp_path / "m", detector, faces={**to_dict(FacesConfig()), "size": 64},
                thresholds={"frame": 0.5, "fraction": 0.5})  # fmt: skip
    out = tmp_path / "out"

    def run(to: Path, faces: int = 12) -> Any:
        command = ["evaluate", "--model", str(tmp_path / "m"), "--shards", str(shards), "--robustness", "--no-track",
                   "--split", "val", "--faces", str(faces), "--device", "cpu", "-o", str(to)]  # fmt: skip
        return CliRunner().invoke(app, command)

    done: list[tuple[str, int]] = []
    worse = robustness._degraded

    def stops(*arguments: Any) -> Any:
        name, severity = arguments[-2:]
        if len(set(done)) == 7 and (name, severity) not in done:
            raise KeyboardInterrupt
        done.append((name, severity))
        return worse(*arguments)

    monkeypatch.setattr(robustness, "_degraded", stops)
    assert run(out).exit_code != 0
    parts = out / "robustness-parts"
    assert {file.stem for file in parts.iterdir()} == {f"{name}-{severity}" for name, severity in done}
    assert not (out / "robustness.parquet").exists()
    (parts / "clean-0.parquet").write_bytes(b"cut off")
    first = set(done)
    again: list[tuple[str, int]] = []
    monkeypatch.setattr(robustness, "_degraded", lambda *a: (again.append(a[-2:]), worse(*a))[1])
    result = run(out)
    assert result.exit_code == 0, (result.output, result.exception)
    assert set(again) & first == {("clean", 0)}  # damaged, so made again; the others are taken as they are
    table = pq.read_table(out / "robustness.parquet")
    kinds = {(r["corruption"], r["severity"]) for r in table.select(["corruption", "severity"]).to_pylist()}
    assert kinds == {("clean", 0), *((name, s) for name in CORRUPTIONS for s in range(1, 6))}
    assert len(table) % len(kinds) == 0
    assert not parts.exists()
    assert run(tmp_path / "whole").exit_code == 0
    assert pq.read_table(tmp_path / "whole/robustness.parquet").equals(table)  # drawn from hashes: the same again


def test_parts_of_other_work_do_not_count(tmp_path: Path) -> None:
    table = pa.table({"prob": [0.1, 0.9]})
    parts = Parts(tmp_path / "parts", {"models": {"m": "abc"}, "faces": 500})
    assert parts.load("blur-1") is None
    parts.save("blur-1", table)
    assert Parts(tmp_path / "parts", {"faces": 500, "models": {"m": "abc"}}).load("blur-1") == table
    assert Parts(tmp_path / "parts", {"models": {"m": "abd"}, "faces": 500}).load("blur-1") is None
    parts.clear()
    assert not (tmp_path / "parts").exists()

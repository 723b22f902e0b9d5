"""`mrigan evaluate --model … --shards …`: two untrained detectors, real shards, every figure from the scores."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config import FacesConfig, ShardsConfig, to_dict
from mrigan.data import ShardSet
from mrigan.errors import ConfigError, ShardError
from mrigan.evaluation import read_scores
from mrigan.models import Detector, Generator
from mrigan.models.bundle import load_bundle, save_bundle
from mrigan.scoring.evaluate import evaluate_models
from mrigan.scoring.options import ScoringOptions
from mrigan.scoring.trained_on import STATEMENTS, trained_on
from tests.data.shards import SCHEMA, Sample, _row, make_samples, write_shards
from tests.tracking.stores import new_store

SIZE = 32


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """Untrained; under RUN/model, as a training leaves them."""
    torch.manual_seed(0)
    folder, faces = tmp_path_factory.mktemp("models"), to_dict(FacesConfig(size=SIZE))
    provenance = {"thresholds": {"source": "searched on 7 val videos"}}
    for name, thresholds in (("face", {"frame": 0.5, "fraction": 0.5}), ("mri", {"frame": 0.4, "fraction": 0.1})):
        detector = Detector("mobilenetv3_small_050", size=SIZE, hidden=8)
        options = {"faces": faces, "thresholds": thresholds, "provenance": provenance}
        save_bundle(folder / name / "model", detector, name, Generator(16, 4) if name == "mri" else None, **options)
    return {name: folder / name / "model" for name in ("face", "mri")}


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "set"
    samples = make_samples(8, 12, split="test", size=SIZE)
    write_shards(folder, samples)
    _add(folder, "silent", "no_face")
    _add(folder, "broken", "unreadable: moov atom not found")
    _add(folder, "same", "unchanged")
    _add(folder, samples[-1].row["name"], "no_face", method=samples[-1].row["method"])  # has faces in other frames
    (folder / "plan.json").write_text(json.dumps({"config": to_dict(ShardsConfig(faces=FacesConfig(size=SIZE)))}))
    return folder


def _add(folder: Path, name: str, reason: str, method: str = "swap") -> None:
    """A dropped row in samples.parquet, as the builder writes one."""
    ident = {"dataset": "toy", "method": method, "compression": "", "name": name}
    row = _row(Sample(f"{name:0<12}"[:12], "fake", "test", row=ident), "", {}, "dropped", reason)
    table = pa.concat_tables([pq.read_table(folder / "samples.parquet"), pa.Table.from_pylist([row], schema=SCHEMA)])
    pq.write_table(table, folder / "samples.parquet")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["samples_sha256"] = hashlib.sha256((folder / "samples.parquet").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def report(models, shards, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report") / "out"
    given = ["--model", str(models["face"]), "--model", str(models["mri"]), "--shards", str(shards), "--workers", "0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", new_store(out.parent / "mlflow.db"))
        result = CliRunner().invoke(app, ["evaluate", *given, "-o", str(out)])
    assert result.exit_code == 0, (result.output, result.exception)
    return out


def test_mlflow_has_a_run_a_model_with_its_figures_and_its_data(report, shards):
    client = MlflowClient(f"sqlite:///{report.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mrigan")
    runs = {run.data.params["model"]: run for run in client.search_runs([experiment.experiment_id])}
    results = {r["model"]: r for r in json.loads((report / "metrics.json").read_text())["results"]}
    assert runs.keys() == results.keys() == {"face", "mri"}
    for name, run in runs.items():
        assert run.info.status == "FINISHED"
        assert run.data.metrics["frame/auc"] == results[name]["frame"]["auc"]
        assert run.data.metrics["video/n"] == results[name]["video"]["n"]
        assert run.data.metrics["threshold/fraction"] == results[name]["thresholds"]["fraction"]
        assert run.data.params["thresholds"] == results[name]["thresholds"]["source"]
        assert not [key for key, value in run.data.params.items() if value.startswith("{")]
        assert run.data.tags["kind"] == "evaluation"
        [dataset] = run.inputs.dataset_inputs
        assert ShardSet.open([shards], "test", "any").hash.startswith(dataset.dataset.digest)
        assert json.loads(dataset.dataset.profile)["samples"] == results[name]["frame"]["n"]
        kept = Path(run.info.artifact_uri.removeprefix("file://"))
        assert (kept / "index.html").read_bytes() == (report / "index.html").read_bytes()


def test_every_face_is_scored_by_both_models(report, models, shards):
    rows = read_scores(report / "scores.parquet").to_pylist()
    opened = ShardSet.open([shards], "test", "any")
    pictures = [np.asarray(Image.open(io.BytesIO(opened.read(i)[0]))) for i in range(len(opened))]
    faces = torch.tensor(np.stack(pictures)).permute(0, 3, 1, 2)
    for name, path in models.items():
        logits = load_bundle(path).score(faces)
        mine = {(r["method"], r["name"], r["frame"]): r for r in rows if r["model"] == name and r["frame"] >= 0}
        assert len(mine) == 20
        near = 0.05 * logits.std().item()  # untrained, it tells faces apart by little, but by more than rounding
        keys = list(zip(*(opened.rows[c].to_pylist() for c in ("method", "name", "frame")), strict=True))
        for key, logit in zip(keys, logits.tolist(), strict=True):
            assert mine[key]["logit"] == pytest.approx(logit, abs=near)
            assert mine[key]["prob"] == pytest.approx(1 / (1 + np.exp(-mine[key]["logit"])), abs=1e-12)
            assert mine[key]["label"] == (key[0] != "original")
        means = load_bundle(path).score_with_mri(faces)[1]
        drawn = [mine[key]["mri"] for key in keys]
        assert drawn == ([None] * 20 if name == "face" else pytest.approx(means.tolist(), abs=0.02))


def test_videos_without_a_face_are_in_the_coverage_and_left_out_ones_are_named(report):
    metrics = json.loads((report / "metrics.json").read_text())
    for result in metrics["results"]:
        assert result["video"]["undecided"] == {"real": 0, "fake": 2}
        assert result["video"]["predicted"] == result["video"]["n"] - 2
        assert result["frame"]["n"] == 20
    assert metrics["left_out"] == {"unchanged": 1}


def test_thresholds_come_from_the_models(report):
    found = {r["model"]: r["thresholds"] for r in json.loads((report / "metrics.json").read_text())["results"]}
    source = "the model's own, searched on 7 val videos"
    assert found == {"face": {"frame": 0.5, "fraction": 0.5, "source": source},
                     "mri": {"frame": 0.4, "fraction": 0.1, "source": source}}  # fmt: skip


def test_the_report_is_made_again_from_its_scores(report, tmp_path):
    result = CliRunner().invoke(app, ["evaluate", "--scores", str(report / "scores.parquet"), "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    for name in ("metrics.json", "index.html", "scores.parquet"):
        assert (tmp_path / name).read_bytes() == (report / name).read_bytes()


def test_faces_cut_otherwise_than_the_models_are_said(models, shards, tmp_path, caplog):
    bundle = load_bundle(models["face"])
    other = to_dict(replace(FacesConfig(size=SIZE), margin=0.3))
    save_bundle(tmp_path / "wide", bundle.detector, faces=other, thresholds=bundle.thresholds)
    with caplog.at_level(logging.WARNING, logger="mrigan.scoring.evaluate"):
        evaluate_models([tmp_path / "wide"], [shards], tmp_path / "out", ScoringOptions(workers=0))
    assert "wide was trained on faces with margin 0.3" in caplog.text


def test_an_empty_split_and_a_model_given_twice(models, shards, tmp_path):
    with pytest.raises(ShardError, match="no usable sample in split 'val'"):
        evaluate_models([models["face"]], [shards], tmp_path / "out", ScoringOptions(split="val"))
    with pytest.raises(ConfigError, match="given twice"):
        evaluate_models([models["face"], models["face"]], [shards], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_model_was_trained_on_is_said(models, shards, tmp_path):
    """In console, page and JSON, by the hashes of sets; also from the scores alone."""
    opened = ShardSet.open([shards], "test")
    trained = tmp_path / "trained"
    write_shards(trained, make_samples(8, 8, size=SIZE))
    shared = tmp_path / "shared"  # the split of another folder, with families of the one that was trained on
    samples = [replace(s, split="test", key=f"{i:012x}-000000-00", row=s.row | {"clip": f"toy/a/-/{i}"})
               for i, s in enumerate(make_samples(4, 8, size=SIZE))]  # fmt: skip
    write_shards(shared, samples)
    for folder in (trained, shared):
        (folder / "plan.json").write_text((shards / "plan.json").read_text())
    its = ShardSet.open([trained], "train")

    def config(folder: Path, train: str = "train", val: str = "val") -> dict:
        return {"data": {"shards": [str(folder)], "train_split": train, "val_split": val}}

    cases = {
        "unknown": {},
        "separate": {"data_hash": opened.hash, "config": config(shards)},
        "trained": {"data_hash": opened.hash, "config": config(shards, train="test")},
        "chosen": {
            "data_hash": "0",
            "shard_hashes": ["1", *opened.folder_hashes],
            "config": config(shards, val="test"),
        },
        "other": {"data_hash": its.hash, "shard_hashes": its.folder_hashes, "config": config(trained)},
        "another": {"data_hash": its.hash, "config": config(tmp_path / "gone")},
    }
    for state, provenance in cases.items():
        assert trained_on(provenance, opened) == {"state": state, "says": STATEMENTS[state]}
    out, again, says = tmp_path / "out", tmp_path / "again", STATEMENTS["chosen"]
    result = _evaluate(models["face"], shards, tmp_path / "run", cases["chosen"], out)
    assert json.loads((out / "metrics.json").read_text())["results"][0]["training"] == {"state": "chosen", "says": says}
    assert f'<p class="note warn">run {says}.</p>' in (out / "index.html").read_text()
    assert f"warning: run on test: {says}." in result.output
    CliRunner().invoke(app, ["evaluate", "--scores", str(out / "scores.parquet"), "-o", str(again)])
    assert json.loads((again / "metrics.json").read_text())["results"][0]["training"]["state"] == "chosen"
    result = _evaluate(models["face"], shared, tmp_path / "run", cases["other"], tmp_path / "out-s")
    assert "warning: run on test: was trained on 3 of the 3 families" in result.output


def _evaluate(model: Path, shards: Path, run: Path, provenance: dict, out: Path):
    bundle = load_bundle(model)
    save_bundle(run / "model", bundle.detector, "face", faces=to_dict(bundle.faces), thresholds=bundle.thresholds,
                provenance=provenance)  # fmt: skip
    command = ["evaluate", "--model", run / "model", "--shards", shards, "-o", out, "--workers", 0]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*map(str, command), "--no-track"])
    assert result.exit_code == 0, result.output
    return result


def test_folders_whose_splits_share_families_are_refused(models, shards, tmp_path):
    torn = [replace(s, row=s.row | {"family": "f0-test-0"}) for s in make_samples(4, 4, seed=7, size=SIZE)]
    write_shards(tmp_path / "torn", torn)
    (tmp_path / "torn" / "plan.json").write_text((shards / "plan.json").read_text())
    with pytest.raises(ShardError, match="the splits are not separate: 1 families are in two splits; f0-test-0 in"):
        evaluate_models([models["face"]], [shards, tmp_path / "torn"], tmp_path / "out")
    assert not (tmp_path / "out").exists()

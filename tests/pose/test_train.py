"""`mrigan train pose` on a set of invented heads: reals are rigid, a fake's inner face is turned by some degrees."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from mrigan.cli.app import app
from mrigan.config import load_config
from mrigan.config.pose import PoseConfig
from mrigan.data import ShardSet
from mrigan.data.landmarks import stored_landmarks
from mrigan.errors import CheckpointError, ConfigError, ModelError, ShardError
from mrigan.evaluation import read_scores
from mrigan.pose.model import load_pose_model
from mrigan.pose.points import CENTRAL, MESH_OF_68, points_68
from mrigan.pose.train import train_pose
from mrigan.shardset.landmarks import FoundLandmarks, write_landmarks
from mrigan.shardset.layout import Layout
from tests.data.shards import Sample, make_samples, write_shards
from tests.pose.heads import projected, turned

SIZE = [1280, 720]
PLAN = "p" * 64


def mesh(rng: np.random.Generator, fake: bool) -> np.ndarray:
    """(468, 2) landmarks, of which only the 68 are a head's."""
    yaw, pitch = rng.uniform(-25, 25), rng.uniform(-15, 15)
    place = np.array([rng.uniform(-2, 2), rng.uniform(-1, 1), rng.uniform(8, 14)])
    head = projected(turned(yaw, pitch), place)
    if fake:
        head[CENTRAL] = projected(turned(yaw + rng.choice([-9, 9]), pitch + 4), place)[CENTRAL]
    points = np.zeros((468, 2))
    points[MESH_OF_68] = head + rng.normal(0, 0.5, head.shape)
    return points.round(2)


def heads(reals: int, fakes: int, split: str, seed: int, landmarks: bool = True) -> list[Sample]:
    samples = make_samples(reals, fakes, split=split, pairs=False, seed=seed, size=16)
    rng = np.random.default_rng(seed)
    for sample in samples:
        points = mesh(rng, sample.label == "fake").tolist()
        sample.about = {"frame_size": SIZE, "landmarks": points if landmarks else None}
    return samples


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of four faces each; of two held-out fakes nothing is known: no landmarks, and landmarks of no face."""
    held_out = heads(24, 24, "val", 1)
    for sample in held_out[-8:-4]:
        sample.about["landmarks"] = None
    for sample in held_out[-4:]:
        sample.about["landmarks"] = [[100.0, 100.0]] * 468
    folder = tmp_path_factory.mktemp("pose") / "shards"
    return write_shards(folder, [*heads(60, 60, "train", 0), *held_out], kind="faces")


def config(shards: Path, run: Path, *overrides: str) -> PoseConfig:
    own = [f"data.shards={shards}", f"run.dir={run}", "tracking.enabled=false"]
    return load_config(PoseConfig, "pose/mesh.yaml", [*own, *overrides])


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pose-run") / "run"
    assert train_pose(config(shards, folder)) == folder / "model"
    return folder


def test_it_learns_what_was_turned(run: Path) -> None:
    scores = read_scores(run / "scores-val.parquet").to_pylist()
    faces = [row for row in scores if row["frame"] >= 0]
    assert len(faces) == 24 + 24 - 8
    assert roc_auc_score([row["label"] for row in faces], [row["logit"] for row in faces]) > 0.95


def test_no_answer_is_counted_and_no_prediction(run: Path) -> None:
    blank = [row for row in read_scores(run / "scores-val.parquet").to_pylist() if row["frame"] < 0]
    assert [(row["label"], row["prob"], row["person"]) for row in blank] == [(1, None, -1)] * len(blank)
    assert len(blank) == 2
    card = json.loads((run / "model" / "model.json").read_text())
    assert card["provenance"]["poses"] == {
        "fitted_to": 120, "without": {}, "without_held_out": {"degenerate points": 4, "not looked for": 4},
    }  # fmt: skip
    [line] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert (line["train/faces"], line["val/no_answer"], line["val/coverage"]) == (120, 8, 10 / 12)


def test_the_model_folder_is_enough(shards: Path, run: Path) -> None:
    model = load_pose_model(run / "model")
    opened = ShardSet.open([shards], "val")
    found = stored_landmarks(opened)
    logits = model.score(points_68(found.points), found.frame_sizes)
    rows = {(row["name"], row["frame"]): row["logit"] for row in read_scores(run / "scores-val.parquet").to_pylist()}
    for i, (name, frame) in enumerate(zip(*(opened.rows[key].to_pylist() for key in ("name", "frame")), strict=True)):
        if np.isfinite(logits[i]):
            assert rows[name, frame] == pytest.approx(logits[i], abs=1e-6)
        else:
            assert (name, frame) not in rows
    assert model.card.data.training.faces == 120
    assert 0 < model.card.thresholds.fraction <= 1
    assert not list(run.rglob("*.pkl"))


def test_the_folder_decides(shards: Path, run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    train_pose(config(shards, run))  # finished: nothing is done again
    changed = {path.name for path, then in before.items() if path.stat().st_mtime_ns != then}
    assert changed <= {"config.json", "run.json"}
    with pytest.raises(CheckpointError, match=r"model\.C: 1\.0 → 3\.0"):
        train_pose(config(shards, run, "model.C=3"))
    assert json.loads((run / "status.json").read_text())["state"] == "finished"


def test_another_run_gives_the_same_scores(shards: Path, run: Path, tmp_path: Path) -> None:
    train_pose(config(shards, tmp_path / "run", "run.name=run"))
    columns = ("logit", "name", "frame", "prob")
    first, second = (read_scores(folder / "scores-val.parquet").select(columns) for folder in (run, tmp_path / "run"))
    assert first.equals(second)


def test_fewer_faces_are_drawn_evenly(shards: Path, tmp_path: Path) -> None:
    train_pose(config(shards, tmp_path / "run", "data.faces=40"))
    poses = json.loads((tmp_path / "run" / "model" / "model.json").read_text())["provenance"]["poses"]
    assert poses["fitted_to"] == 40


def test_a_run_that_fails_says_why(shards: Path, tmp_path: Path) -> None:
    samples = [*heads(8, 8, "train", 2), *heads(4, 4, "val", 3)]
    for sample in samples:
        if sample.label == "fake" and sample.split == "train":
            sample.about["landmarks"] = None
    folder = write_shards(tmp_path / "shards", samples, kind="faces")
    with pytest.raises(ShardError, match="all real"):
        train_pose(config(folder, tmp_path / "run"))
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], "all real" in status["error"]) == ("failed", True)
    assert not (tmp_path / "run" / "model").exists()


def test_without_landmarks_it_says_what_to_do(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "shards", [*heads(4, 4, "train", 2, False), *heads(4, 4, "val", 3, False)],
                          kind="faces")  # fmt: skip
    with pytest.raises(ShardError, match=f"mrigan shards landmarks {folder}"):
        train_pose(config(folder, tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"data\.shards is empty"):
        train_pose(config(folder, tmp_path / "run", "data.shards="))


def test_landmarks_that_were_found_later_are_used(shards: Path, tmp_path: Path) -> None:
    samples = [*heads(8, 8, "train", 2), *heads(4, 4, "val", 3)]
    stored = {sample.key: np.array(sample.about.pop("landmarks"), np.float32) for sample in samples}
    folder = write_shards(tmp_path / "shards", samples, kind="faces")
    absent = next(sample.key for sample in samples if sample.split == "train")
    for split in ("train", "val"):
        found = {
            sample.key: FoundLandmarks(None, "no_face") if sample.key == absent else FoundLandmarks(stored[sample.key])
            for sample in samples
            if sample.split == split
        }
        write_landmarks(Layout(folder).unit_landmarks("mesh", f"{split}-000000"), found, PLAN)
    opened = ShardSet.open([folder], "train")
    landmarks = stored_landmarks(opened, chosen=[4, 152])
    for i in range(len(opened)):
        expected = np.full((2, 2), np.nan) if opened.key(i) == absent else stored[opened.key(i)][[4, 152]]
        np.testing.assert_array_equal(landmarks.points[i], expected)
    assert landmarks.absent == Counter(no_face=1)
    train_pose(config(folder, tmp_path / "run"))

    table = Layout(folder).unit_landmarks("mesh", "train-000000")
    write_landmarks(table, {}, "another plan")
    with pytest.raises(ShardError, match="another plan"):
        stored_landmarks(opened)
    table.write_bytes(table.read_bytes()[:-20])
    with pytest.raises(ShardError, match="cannot be used"):
        stored_landmarks(opened)


@pytest.mark.parametrize(("key", "value", "why"), [
    ("kind", "mrigan-detector", "does not describe a pose detector"),
    ("schema_version", 2, "schema_version"),
    ("focal", 0, "focal"),
    ("files", {}, r"does not list pose\.skops"),
    ("files", {"pose.skops": {"sha256": "0" * 64}}, "damaged, or replaced"),
])  # fmt: skip
def test_a_wrong_card_is_refused(run: Path, tmp_path: Path, key: str, value: object, why: str) -> None:
    card = json.loads((run / "model" / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**card, key: value}))
    (tmp_path / "pose.skops").write_bytes((run / "model" / "pose.skops").read_bytes())
    with pytest.raises(ModelError, match=why):
        load_pose_model(tmp_path)


def test_the_command(shards: Path, tmp_path: Path) -> None:
    words = ["train", "pose", "pose/mesh.yaml", f"data.shards={shards}", f"run.dir={tmp_path}/run",
             f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"]  # fmt: skip
    dry = CliRunner().invoke(app, [*words, "--dry-run"])
    assert (dry.exit_code, "120 of 120 faces" in dry.output) == (0, True)
    assert not (tmp_path / "run").exists()
    assert CliRunner().invoke(app, words).exit_code == 0
    assert load_pose_model(tmp_path / "run" / "model").card.points == "mesh"

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    [logged] = client.search_runs([client.get_experiment_by_name("mrigan").experiment_id])
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["val/auc"] > 0.95
    assert logged.data.params["model.C"] == "1.0"
    artifacts = {each.path for each in client.list_artifacts(logged.info.run_id, "model")}
    assert {"model/model.json", "model/pose.skops"} <= artifacts
    assert pq.read_table(tmp_path / "run" / "scores-val.parquet").num_rows == 42

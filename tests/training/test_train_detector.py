"""A run of the detector from the outside, on faces and on predicted MRIs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import cv2
import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from mrigan.config import DetectorConfig, TrackingConfig
from mrigan.config.model_card import given
from mrigan.data import Batch, ShardSet
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.errors import CheckpointError, ConfigError, ModelError
from mrigan.evaluation import read_scores
from mrigan.models import Detector, Generator, load_bundle, load_generator
from mrigan.scoring.face_settings import face_settings
from mrigan.scoring.limits import MAX_DISTANCE, fit_reliability
from mrigan.scoring.shards import score_shards
from mrigan.tracking import list_models, register_run
from mrigan.training.detector import detector_step
from mrigan.training.finish import may_be_registered
from mrigan.training.launch import REGISTER
from mrigan.training.task import StepResult
from tests.training.runs import (
    detector_config,
    finish,
    hashes,
    logged,
    run_detector,
    start,
    status,
    wait_until,
    write_tiny_shards,
)


@pytest.fixture(scope="module")
def generator(undisturbed: Path) -> Path:
    return undisturbed / "model" / "generator.safetensors"


@pytest.fixture(scope="module")
def face_run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_detector(shards, tmp_path_factory.mktemp("detector") / "face-run")


@pytest.fixture(scope="module")
def mri_run(shards: Path, generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("detector") / "mri-run"
    return run_detector(shards, run, "data.input=mri", f"model.generator={generator}", "train.steps=6")


def test_the_model_of_a_face_run(face_run: Path, shards: Path) -> None:
    assert status(face_run)["state"] == "finished"
    bundle = load_bundle(face_run / "model")
    assert (bundle.input, bundle.generator, bundle.faces.size) == ("face", None, 64)
    provenance = bundle.card.provenance
    assert provenance["data_hash"] == ShardSet.open([str(shards)], "train").hash
    assert provenance["config"]["train"]["steps"] == 10
    best = json.loads((face_run / "checkpoints" / "best.json").read_bytes())
    assert provenance["step"] == best["step"]
    losses = logged(face_run, "val/loss")
    assert best["step"] == min(losses, key=lambda step: losses[step])
    assert bundle.thresholds.keys() == {"frame", "fraction"}
    assert provenance["thresholds"]["source"].endswith("val videos")


def test_a_model_of_few_people_sets_its_limits_by_the_training_faces(face_run: Path, shards: Path) -> None:
    """How a handful of held-out people look is no limit of what can be judged; what was too little is said."""
    bundle = load_bundle(face_run / "model")
    doubt, training = bundle.card.doubt, ShardSet.open([str(shards)], "train")
    limits = given(doubt.limits)
    assert bundle.familiarity is None
    assert bundle.known is not None
    assert limits.pop("max_distance") == MAX_DISTANCE
    limits.pop("min_colour", None)
    assert limits == {"min_faces": 3, "share": 0.5}
    faces = np.stack([cv2.imdecode(np.frombuffer(training.read(i)[0], np.uint8), 1)[..., ::-1] for i in (0, 9, 17)])
    _, distances = bundle.weigh(torch.from_numpy(faces.transpose(0, 3, 1, 2).copy()))
    assert distances is not None
    assert distances.numpy() == pytest.approx(0, abs=0.02)  # it has seen these very faces
    assert doubt.calibration is None
    assert "too few" in doubt.uncalibrated or "two families" in doubt.uncalibrated


def test_sharpness_is_measured_on_the_held_out_faces(
    face_run: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With families enough, the limit is the sharpness below which one face in a hundred lies."""
    monkeypatch.setattr("mrigan.evaluation.fit_limits.MIN_FAMILIES", 1)
    held_out, bundle = ShardSet.open([str(shards)], "val"), load_bundle(face_run / "model")
    scores = score_shards(bundle, held_out, workers=0, device="cpu", progress=False)
    doubt = fit_reliability(bundle, ShardSet.open([str(shards)], "train"), held_out, scores).fitted.to_json()
    faces = (cv2.imdecode(np.frombuffer(held_out.read(i)[0], np.uint8), 1) for i in range(len(held_out)))
    sharp = [cv2.Laplacian(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), cv2.CV_64F).var() for face in faces]
    assert doubt["limits"]["min_sharpness"] == pytest.approx(np.quantile(sharp, 0.01), rel=0.02)


def test_held_out_figures_are_those_of_the_scores(face_run: Path) -> None:
    """All held-out faces, against scikit-learn; the score is balanced between the classes."""
    scores = read_scores(face_run / "scores-val.parquet")
    labels, probs = scores["label"].to_numpy(), scores["prob"].to_numpy()
    assert (len(labels), labels.sum()) == (15, 9)
    best = json.loads((face_run / "checkpoints" / "best.json").read_bytes())["step"]
    assert logged(face_run, "val/auc")[best] == pytest.approx(roc_auc_score(labels, probs), abs=1e-6)
    assert logged(face_run, "val/log_loss")[best] == pytest.approx(log_loss(labels, probs), rel=1e-5)
    balanced = np.mean([log_loss(labels[labels == c], probs[labels == c], labels=[0, 1]) for c in (0, 1)])
    assert logged(face_run, "val/loss")[best] == pytest.approx(balanced, rel=1e-5)


def test_scoring_again_gives_the_same(face_run: Path, shards: Path) -> None:
    kept = read_scores(face_run / "scores-val.parquet")
    again = score_shards(load_bundle(face_run / "model"), ShardSet.open([str(shards)], "val"), model="face-run",
                         batch_size=4, workers=0, device="cpu", progress=False)  # fmt: skip
    assert again.drop_columns(["logit", "prob"]).equals(kept.drop_columns(["logit", "prob"]))
    np.testing.assert_allclose(again["logit"].to_numpy(), kept["logit"].to_numpy(), atol=1e-5)


def test_videos_without_a_face_are_counted(tmp_path: Path, face_run: Path) -> None:
    import hashlib

    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = write_tiny_shards(tmp_path / "shards")
    table = pq.read_table(folder / "samples.parquet")
    row = table.slice(0, 1).to_pylist()[0] | {"split": "val", "name": "empty", "frame": -1, "person": -1, "shard": ""}
    rows = [
        row | {"key": "000000000001", "status": "dropped", "reason": "no_face", "label": "real"},
        row
        | {
            "key": "000000000002",
            "status": "failed",
            "reason": "unreadable: zero bytes",
            "name": "cut",
            "label": "fake",
        },
        row | {"key": "000000000003", "status": "dropped", "reason": "misaligned", "name": "moved", "label": "fake"},
    ]
    pq.write_table(pa.concat_tables([table, pa.Table.from_pylist(rows, table.schema)]), folder / "samples.parquet")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["samples_sha256"] = hashlib.sha256((folder / "samples.parquet").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    held_out = ShardSet.open([str(folder)], "val")
    scores = score_shards(load_bundle(face_run / "model"), held_out, workers=0, device="cpu", progress=False)
    faceless = scores.filter(pc.equal(scores["frame"], -1))
    assert sorted(zip(faceless["name"].to_pylist(), faceless["label"].to_pylist(), strict=True)) == [
        ("cut", 1),
        ("empty", 0),
    ]
    assert faceless["prob"].null_count == 2
    assert len(scores) == 15 + 2


def test_the_model_of_an_mri_run_carries_its_generator(mri_run: Path, generator: Path) -> None:
    bundle = load_bundle(mri_run / "model")
    assert bundle.input == "mri"
    assert bundle.generator is not None
    trained = load_generator(generator).state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in bundle.generator.state_dict().items())


class Spy:
    """An engine that only notes what it is given."""

    def __init__(self) -> None:
        self.module = torch.nn.Linear(1, 1)
        self.given: list[torch.Tensor] = []

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        self.given.append(pictures)
        return self.module(torch.zeros(len(pictures), 1)).squeeze(1)

    def no_sync(self) -> AbstractContextManager[None]:
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None: ...

    def step(self) -> None: ...


def test_mris_are_predicted_in_eval_mode_and_in_the_range_of_pictures() -> None:
    """A generator left in train mode, or tanh's output taken as a picture, must not come back."""
    torch.manual_seed(0)
    G = Generator(32, 4, dropout=0.5).train()
    face = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    ids = torch.zeros(4, dtype=torch.int64)
    data = Batch(face, None, torch.tensor([0.0, 1, 1, 0]), ids, ids, ids, 0)
    config = DetectorConfig()
    config.data.input, config.data.augment = "mri", False
    spy = Spy()
    world = World(0, 1, 0, torch.device("cpu"))
    detector_step(spy, G, data, config=config, precision=Precision("fp32", world.device), world=world)  # type: ignore[arg-type]
    with torch.no_grad():
        expected = (G.eval()(face.float() / 127.5 - 1) + 1) / 2
    torch.testing.assert_close(spy.given[0], expected)
    assert not spy.given[0].requires_grad
    config.data.augment = True
    data.seeds = torch.arange(4)
    detector_step(spy, G, data, config=config, precision=Precision("fp32", world.device), world=world)  # type: ignore[arg-type]
    grey = torch.tensor([0.485, 0.456, 0.406])[:, None, None]  # of ImageNet: black would say that the face is real
    erased = (spy.given[1] - grey).abs().amax(1).lt(0.003).flatten(1).sum(1) > 10
    assert 0 < erased.sum() < 4  # some pictures lost a rectangle
    assert torch.equal(spy.given[1][~erased], spy.given[0][~erased])


def test_killed_and_started_again(shards: Path, face_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "face-run"
    process = start("detector/cpu-smoke.yaml", f"data.shards={shards}", f"run.dir={run}", "tracking.enabled=false",
                    page="train_detector.py")  # fmt: skip
    wait_until(lambda: len(logged(run, "train/loss")) >= 7, process)
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    run_detector(shards, run)
    assert hashes(run, 10) == hashes(face_run, 10)
    assert logged(run, "train/loss") == logged(face_run, "train/loss")
    assert (run / "model" / "detector.safetensors").read_bytes() == (
        face_run / "model" / "detector.safetensors"
    ).read_bytes()


def test_mris_need_a_generator(shards: Path, tmp_path: Path, generator: Path, mri_run: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.generator"):
        run_detector(shards, tmp_path / "run", "data.input=mri")
    with pytest.raises(ModelError, match="no such weight file"):
        run_detector(shards, tmp_path / "run", "data.input=mri", f"model.generator={tmp_path / 'G.safetensors'}")
    assert not (tmp_path / "run").exists()
    other = tmp_path / "other.safetensors"
    G = load_generator(generator)
    with torch.no_grad():
        G.head.conv.bias += 1
    from mrigan.models import save_generator

    save_generator(other, G)
    run = tmp_path / "copy"
    shutil.copytree(mri_run, run)
    with pytest.raises(CheckpointError, match="generator: "):  # another generator is another run ...
        run_detector(shards, run, "data.input=mri", f"model.generator={other}", "train.steps=6")
    shutil.copy(generator, tmp_path / "moved.safetensors")  # ... and the same one elsewhere is not
    run_detector(shards, run, "data.input=mri", f"model.generator={tmp_path / 'moved.safetensors'}", "train.steps=6")


def test_faces_alone_are_enough(tmp_path: Path) -> None:
    faces = write_tiny_shards(tmp_path / "faces", pairs=False)
    run_detector(faces, tmp_path / "run", "train.steps=1", "data.workers=0")
    assert (tmp_path / "run" / "model" / "model.json").is_file()


def test_shards_cut_differently_do_not_mix(shards: Path, tmp_path: Path) -> None:
    other = write_tiny_shards(tmp_path / "other", pairs=False)
    plan = json.loads((other / "plan.json").read_text())
    plan["config"]["faces"]["margin"] = 0.3
    (other / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(ConfigError, match="cut by different settings"):
        run_detector(shards, tmp_path / "run", f"data.shards={shards},{other}")
    plan["config"]["faces"].update(margin=0.1, every=3)  # other frames, cut alike
    (other / "plan.json").write_text(json.dumps(plan))
    assert face_settings([shards, other]) == face_settings([shards])
    assert face_settings([other, shards])["every"] == 3


def test_epochs_become_steps(shards: Path, tmp_path: Path) -> None:
    config = detector_config(shards, tmp_path / "run", "train.steps=0", "train.epochs=0.5")
    from mrigan.training.train import train

    train("detector", config)
    assert status(tmp_path / "run")["step"] == 4  # half of 51 samples, rounded up to whole batches of 8


def test_a_detector_no_better_than_chance_is_kept_and_not_registered(
    shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    own = ["tracking.enabled=true", f"tracking.uri={uri}", "train.steps=1", "data.workers=0"]
    run = run_detector(shards, tmp_path / "run", *own)
    [line] = [record.message for record in caplog.records if record.message.startswith("not registered")]
    assert f"mrigan models register {run}" in line
    assert "too few for an interval" in line
    assert list_models(uri) == []
    load_bundle(run / "model")
    command = [sys.executable, "-m", "mrigan.cli", "models", "register", str(run)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "registered as mrigan-face version 1, candidate\n", done.stderr
    [version] = list_models(uri)
    assert version.run_id == status(run)["mlflow_run_id"]
    assert register_run(run, uri) == ("mrigan-face", 1)  # the same run's model is one version
    scores = read_scores(run / "scores-val.parquet")
    for register, anyway, expected in ((True, False, False), (True, True, True), (False, False, False)):
        assert may_be_registered(TrackingConfig(register=register, register_anyway=anyway), scores, run) is expected


def test_the_registry_gets_the_model(shards: Path, tmp_path: Path) -> None:
    from mrigan.tracking import resolve

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    own = ["tracking.enabled=true", f"tracking.uri={uri}", "train.steps=2", "data.workers=0", REGISTER]
    run = run_detector(shards, tmp_path / "run", *own)
    registered = resolve("models:/mrigan-face@candidate", uri)
    assert (registered / "detector.safetensors").read_bytes() == (run / "model" / "detector.safetensors").read_bytes()
    run_detector(shards, run, *own)  # finished: nothing is registered twice
    import mlflow

    client = mlflow.MlflowClient(uri)
    assert len(client.search_model_versions("name='mrigan-face'")) == 1
    tracked = client.get_run(status(run)["mlflow_run_id"])
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["optim.lr"] == "0.0001"
    assert tracked.data.tags["data_hash"] == ShardSet.open([str(shards)], "train").hash
    assert [m.step for m in client.get_metric_history(tracked.info.run_id, "train/loss")] == [1, 2]
    run_detector(shards, run, *own, "train.steps=3")  # a longer run continues it
    assert status(run)["mlflow_run_id"] == tracked.info.run_id
    assert [m.step for m in client.get_metric_history(tracked.info.run_id, "train/loss")] == [1, 2, 3]


def test_dropout_and_drop_path_are_on_in_training(shards: Path, tmp_path: Path) -> None:
    """Evaluation in between puts the mode back."""
    from mrigan.training import detector

    modes = []
    step = detector.detector_step

    def watched(engine: object, *rest: object, **more: object) -> StepResult:
        assert isinstance(engine.module, Detector)  # type: ignore[attr-defined]
        modes.append(engine.module.training)  # type: ignore[attr-defined]
        return step(engine, *rest, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector, "detector_step", watched)
        run_detector(shards, tmp_path / "run", "train.steps=3", "eval.every=1", "data.workers=0")
    assert modes == [True] * 3

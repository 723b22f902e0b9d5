"""The scripts of examples/ run as their first lines say. (Those that judge with a given model: `tests/detect`.)"""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from mrigan.mri import METRICS
from mrigan.sample import make_sample
from tests.builders import ROOT, run_example
from tests.data.shards import make_samples, picture, write_shards
from tests.training.runs import write_tiny_shards


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(tmp_path_factory.mktemp("sample") / "sample", people=2, seconds=0.4, workers=1)


def test_own_data(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "manifest.csv"
    videos = {}
    for kind in ("real", "fake"):
        videos[kind] = f"{kind}.mp4"
        shutil.copy(next((sample / "unseen").glob(f"{kind}*.mp4")), tmp_path / videos[kind])
    with manifest.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "original", "identity"))
        rows.writerow((videos["real"], "real", "", "Ann"))
        rows.writerow((videos["fake"], "fake", videos["real"], "Ann"))
    lines = run_example("own_data.py", manifest, tmp_path / "out", capsys=capsys)
    stored = pq.read_table(tmp_path / "out" / "shards" / "samples.parquet", filters=[("status", "=", "ok")])
    assert f"{len(stored)} faces of 2 clips" in lines[-2]
    assert set(stored["label"].to_pylist()) == {"real", "fake"}
    assert "unreadable: 0" in lines[-1]


def test_train_and_judge(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards, run = write_tiny_shards(tmp_path / "shards"), tmp_path / "run"
    video = next((sample / "unseen").glob("real*.mp4"))
    quick = ("--config", "detector/cpu-smoke.yaml", "--set", "train.steps=1", "tracking.enabled=false")
    lines = run_example("train_and_judge.py", shards, run, video, *quick, capsys=capsys)
    assert (run / "model" / "model.json").is_file()
    assert lines[-1].startswith(f"{video}: ")
    assert int(lines[-1].split()[-2]) > 0


def test_ablation(landmark_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same call again trains nothing."""
    quick = ["--set", "model.backbone=test_efficientnet.r160_in1k", "model.weights=random", "model.size=64",
             "model.hidden=16", "train.batch_size=4", "train.steps=1", "data.workers=0",
             "tracking.enabled=false"]  # fmt: skip
    words = ("ablation.py", tmp_path, "--blends", landmark_pairs, "--faces", landmark_pairs,
             "--only", "1-nothing", "5-real-pairs", *quick)  # fmt: skip
    lines = run_example(*words, capsys=capsys)
    report = json.loads((tmp_path / "report" / "metrics.json").read_bytes())
    assert [result["model"] for result in report["results"]] == ["1-nothing", "5-real-pairs"]
    assert lines[-1] == f"report: {tmp_path / 'report' / 'index.html'}"
    models = [tmp_path / step / "model" / "detector.safetensors" for step in ("1-nothing", "5-real-pairs")]
    before = [model.stat().st_mtime_ns for model in models]
    assert run_example(*words, capsys=capsys)[-1] == lines[-1]
    assert [model.stat().st_mtime_ns for model in models] == before


def test_own_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = dict(METRICS)
    a, b = picture(1, 64), picture(2, 64)
    for name, image in (("a", a), ("b", b)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    try:
        lines = run_example("own_metric.py", *(tmp_path / f"{n}.png" for n in ("a", "b", "out")), capsys=capsys)
    finally:
        METRICS.clear()
        METRICS.update(before)
    oracle = cv2.blur(np.abs(a.astype(np.float32) - b), (9, 9), borderType=cv2.BORDER_CONSTANT)
    out = cv2.imread(str(tmp_path / "out.png"))
    assert out.shape == (64, 4 * 64, 3)
    assert np.abs(out[:, 192:].astype(int) - oracle).max() < 0.51
    assert f"blurred-difference: mean {oracle.mean():.1f} of 255" in lines


def test_read_with_webdataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shards(tmp_path / "set", make_samples(6, 11))
    [fake, real] = run_example(
        "read_with_webdataset.py", f"{tmp_path}/set/train-{{real,fake}}-000000.tar", capsys=capsys
    )
    assert fake.startswith("fake: 10 faces, mean of the MRIs ")
    assert real == "real: 6 faces, mean of the MRIs 0.0 of 255"


def test_every_example_is_run() -> None:
    run = (ROOT / "tests" / "test_examples.py").read_text() + (ROOT / "tests" / "detect" / "test_python.py").read_text()
    assert all(f'"{name}"' in run for name in os.listdir(ROOT / "examples") if name.endswith(".py"))

"""`--dry-run`: the plan is right, one step is done, and nothing is left behind."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mrigan.config import GanConfig, load_config
from mrigan.training.footprint import footprints
from mrigan.training.gan import GanTask
from mrigan.training.launch import launch
from tests.training.runs import GAN, finish, start, write_tiny_shards


def everything(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def dry(kind: str, *words: str, new: bool = False) -> int:
    return launch(kind, f"{kind}/cpu-smoke.yaml", words, new, dry=True)


def test_a_new_run(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [f"data.shards={shards}", "data.cache=cache", "run.dir=runs/run", "checkpoint.permanent=10"]
    assert dry("gan", *words) == 0
    said = capsys.readouterr().out
    for line in (
        "dry run of runs/run: a new run",
        "8 per step = 1 ranks × 8",
        "train 21 real, 30 fake; held out 15",
        "42 samples = 5.2 steps",
        "20 = 3.81 epochs",
        "6 kept (3 newest, the best, 2 permanent)",
        "\n    adversarial: least_squares\n",
        "one step",
        "no files were written",
    ):
        assert line in said
    assert list(tmp_path.iterdir()) == []  # no run folder, no mlflow.db, no staged shards


def test_a_run_that_is_there_is_not_touched(
    shards: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(undisturbed)
    words = [f"data.shards={shards}", f"run.dir={undisturbed}", *GAN]
    assert dry("gan", *words, "train.steps=99") == 0
    assert "would continue after step 16" in capsys.readouterr().out
    assert dry("gan", *words, "loss.tau=0.7") == 1
    assert "loss.tau: 0.3 → 0.7" in capsys.readouterr().err
    assert dry("gan", *words, "loss.tau=0.7", new=True) == 0
    assert "would be moved aside" in capsys.readouterr().out
    assert everything(undisturbed) == before


def test_what_training_would_refuse_is_refused(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = write_tiny_shards(tmp_path / "faces", pairs=False)
    assert dry("gan", f"data.shards={faces}", f"run.dir={tmp_path}/run") == 1
    assert dry("detector", f"data.shards={shards}", f"run.dir={tmp_path}/run", "data.input=mri") == 2
    assert "model.generator" in capsys.readouterr().err


def test_two_ranks(shards: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Rank 0 speaks, both step; what they would send a step is the trained weights of the detector, in fp32."""
    words = [f"data.shards={shards}", f"run.dir={tmp_path}/run", "data.input=mri", "--dry-run"]
    generator = f"model.generator={undisturbed}/model/generator.safetensors"
    code, said = finish(start("detector/cpu-smoke.yaml", *words, generator, ranks=2, page="train_detector.py"))
    assert code == 0, said
    assert said.count("8 per step = 2 ranks × 4") == 1
    assert "all-reduce   per step: detector 0.4 MB; in a ring each rank sends 0.4 MB" in said
    assert "no files were written" in said
    assert not (tmp_path / "run").exists()


def test_the_whole_networks_are_weighed_without_being_built() -> None:
    """MRI-GAN at full size: 54.4 million weights in G, two moments each; ZeRO 2 leaves a quarter of some to a rank."""
    plain, zero = (
        footprints(GanTask(load_config(GanConfig, "gan/paper.yaml", ["run.dir=x", *given])), ranks=4)["generator"]
        for given in ([], ["engine.name=zero2"])
    )
    n = 54_404_099
    assert (plain.parameters, plain.reduced, plain.checkpoint) == (n, 4 * n, 12 * n)
    assert (plain.weights, plain.gradients, plain.optimizer) == (4 * n, 4 * n, 8 * n)
    assert (zero.weights, zero.gradients, zero.optimizer) == (4 * n, n, 2 * n)

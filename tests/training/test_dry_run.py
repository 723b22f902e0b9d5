"""`--dry-run`: the plan is right, one step is done, and nothing is left behind."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from mrigan.config import GanConfig, load_config
from mrigan.data import Batch
from mrigan.engine.distributed import World
from mrigan.training.footprint import footprints
from mrigan.training.launch import launch
from mrigan.training.trials import gan_trial
from tests.training.runs import GAN, finish, start, write_tiny_shards

CPU = torch.device("cpu")


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
        "8 a step = 1 ranks × 8",
        "train 21 real, 30 fake; held out 15",
        "42 samples = 5.2 steps",
        "20 = 3.81 epochs",
        "6 kept (3 newest, the best, 2 permanent)",
        "adversarial: least_squares",
        "one step",
        "nothing of this was kept",
    ):
        assert line in said
    assert list(tmp_path.iterdir()) == []  # no run folder, no mlflow.db, no staged shards


def test_a_run_that_is_there_is_not_touched(
    shards: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(undisturbed)
    words = [f"data.shards={shards}", f"run.dir={undisturbed}", *GAN]
    assert dry("gan", *words, "train.steps=99") == 0
    assert "would go on after step 16" in capsys.readouterr().out
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
    assert said.count("8 a step = 2 ranks × 4") == 1
    assert "all-reduce   a step: detector 0.4 MB; 0.4 MB sent by each rank" in said
    assert "nothing of this was kept" in said
    assert not (tmp_path / "run").exists()


class Two(nn.Module):
    """A convolution, a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu()


def test_what_is_kept_for_the_backward_pass_is_counted_once() -> None:
    """By hand: the input of the convolution, 3 channels; ReLU's result, 8, which the square keeps, too."""

    def step(engines, batch, precision, world):  # type: ignore[no-untyped-def]
        with precision.autocast():
            y = engines["two"](batch.face.float())
        engines["two"].backward(y.square().mean())

    n, s, zeros = 4, 16, torch.zeros(4, dtype=torch.int64)
    batch = Batch(torch.zeros(n, 3, s, s, dtype=torch.uint8), None, torch.zeros(n), zeros, zeros, zeros, 0)
    found = footprints(lambda: {"two": Two()}, step, batch, precision="fp32", engine="zero2", world=World(0, 4, 0, CPU))
    two = found["two"]
    assert two.activations + found["losses"].activations == n * s * s * (3 + 8) * 4
    assert (two.parameters, two.reduced) == (224, 224 * 4)
    assert (two.weights, two.gradients, two.optimizer) == (224 * 4, 224, 224 * 2)  # ZeRO 2: a quarter each
    assert two.checkpoint == 3 * 224 * 4


def test_the_whole_networks_are_weighed_without_being_built() -> None:
    """MRI-GAN at full size: 54.4 million weights in G; half the batch at once needs half the activations."""
    total = []
    for parts in (1, 2):
        config = load_config(GanConfig, "gan/paper.yaml", ["run.dir=x", f"engine.accumulate={parts}"])
        trial, n, s = gan_trial(config), 8, 256
        face, zeros = torch.zeros(n, 3, s, s, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64)
        batch = Batch(face, face.clone(), torch.zeros(n), zeros, zeros, zeros, 0)
        found = footprints(trial.networks, trial.step, batch, precision="bf16", engine="ddp", world=World(0, 1, 0, CPU))
        assert found["generator"].parameters == 54_404_099
        assert found["generator"].reduced == 0
        total.append(sum(f.activations for f in found.values()))
    casts = 2 * 54_404_099  # bf16 copies of G's weights, whatever the batch
    assert (total[0] - casts) / (total[1] - casts) == pytest.approx(2, rel=0.1)

"""A kind of training that the package does not know: one class, its settings, one line that names it.

It learns to tell fakes by the mean colour of a face.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mrigan.config import OptimConfig, TrainConfig, TrainingConfig, load_config
from mrigan.data import Batch, eval_batches
from mrigan.doctor import examine
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.errors import CheckpointError
from mrigan.training.flops import flops_per_image
from mrigan.training.job import Job
from mrigan.training.launch import launch
from mrigan.training.state import TrainState
from mrigan.training.task import Evaluation, Inputs, StepResult, Task
from mrigan.training.tasks import TASKS, TaskEntry
from mrigan.training.train import train
from tests.training.runs import hashes, logged, status

SIDE = 16


@dataclass
class ColourModel:
    hidden: int = 4


@dataclass
class ColourConfig(TrainingConfig):
    model: ColourModel = field(default_factory=ColourModel)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=0.01))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(batch_size=8))


class ColourTask(Task[ColourConfig]):
    name, title = "colour", "a colour"
    inputs = Inputs(SIDE, mri=False)

    def networks(self, pretrained: bool = True) -> dict[str, nn.Module]:
        torch.manual_seed(self.config.train.seed)
        hidden = self.config.model.hidden
        return {"colour": nn.Sequential(nn.Linear(3, hidden), nn.Dropout(0.5), nn.Linear(hidden, 1))}

    def step(self, state: TrainState, batch: Batch) -> StepResult:
        engine = state.engines["colour"]
        with state.precision.autocast():
            loss = self.loss(engine, batch)
        engine.backward(loss)
        engine.step()
        return StepResult({"loss": loss.detach()}, state.precision.update())

    def evaluate(self, job: Job) -> Evaluation:
        network, shards = job.state.engines["colour"].unsharded(), job.data.val
        with eval_batches(shards, range(len(shards)), len(shards), size=SIDE) as batches, torch.no_grad():
            loss = float(self.loss(network.eval(), next(batches)))
        network.train()
        return Evaluation({"loss": loss}, -loss)

    def finish(self, job: Job) -> None:
        best = job.run.store.load_best()
        job.run.folder.model.mkdir(exist_ok=True)
        save_file(best.tensors("colour"), job.run.folder.model / "colour.safetensors")

    @staticmethod
    def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
        logits = network(batch.face.float().mean((2, 3)) / 255).squeeze(1)
        return nn.functional.binary_cross_entropy_with_logits(logits, batch.label)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "colour", TaskEntry(ColourConfig, f"{__name__}:ColourTask", "a colour"))


def words(shards: Path, run: Path, steps: int) -> list[str]:
    return [f"data.shards={shards}", f"run.dir={run}", "tracking.enabled=false", "checkpoint.every=4", "eval.every=4",
            "tracking.log_every=1", "data.workers=0", f"train.steps={steps}"]  # fmt: skip


def test_it_is_trained_and_resumed_exactly(shards: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for run, steps in ((whole, 10), (parts, 3), (parts, 10)):
        assert train("colour", load_config(ColourConfig, None, words(shards, run, steps))) == run
    assert hashes(parts, 10) == hashes(whole, 10)
    assert logged(parts, "train/loss") == logged(whole, "train/loss")
    assert list(logged(whole, "val/loss")) == [4, 8, 10]
    assert status(whole)["state"] == "finished"
    best = min(logged(whole, "val/loss").items(), key=lambda item: item[1])[0]
    kept = load_file(whole / "checkpoints" / f"step-{best:06d}" / "colour.safetensors")
    model = load_file(whole / "model" / "colour.safetensors")
    assert all(torch.equal(model[name], tensor) for name, tensor in kept.items())
    with pytest.raises(CheckpointError, match="kind: colour → gan"):
        train("gan", load_config(TASKS["gan"].config_class, "gan/cpu-smoke.yaml", words(shards, whole, 10)))


def test_the_command_the_dry_run_the_doctor_and_the_count_know_it(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "colour.yaml").write_text("model: {hidden: 6}\n")
    given = words(shards, tmp_path / "run", 2)
    assert launch("colour", str(tmp_path / "colour.yaml"), given, False, dry=True) == 0
    output = capsys.readouterr().out
    assert "colour: dry run of" in output
    assert f"{3 * 6 + 6 + 6 + 1} " in output  # parameters
    assert not (tmp_path / "run").exists()
    config = load_config(ColourConfig, tmp_path / "colour.yaml", given)
    assert flops_per_image(ColourTask(config)) == 2 * (2 * 3 * 6 + 3 * 6)  # two layers; the input takes no gradient
    monkeypatch.setattr("mrigan.doctor.check_ranks", lambda: iter(()))
    assert "shards" in {finding.check for finding in examine("colour", config)}


class _Rates:
    """An engine that remembers its learning rates."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def set_learning_rate(self, lr: float) -> None:
        self.rates.append(lr)


def test_a_network_may_have_a_learning_rate_of_its_own() -> None:
    class TwoRates(ColourTask):
        def learning_rate(self, network: str, step: int) -> float:
            return super().learning_rate(network, step) * (0.1 if network == "last" else 1.0)

    cpu, engines = torch.device("cpu"), {"first": _Rates(), "last": _Rates()}
    state = TrainState(World(0, 1, 0, cpu), Precision("fp32", cpu), engines)  # type: ignore[arg-type]
    config = ColourConfig(optim=OptimConfig(lr=0.5, schedule="linear", decay_steps=4))
    for state.step in range(3):
        state.set_learning_rate(TwoRates(config))
    assert engines["last"].rates == [0.1 * rate for rate in engines["first"].rates]
    assert engines["first"].rates[0] == 0.5 > engines["first"].rates[2]

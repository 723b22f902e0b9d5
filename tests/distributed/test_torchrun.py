"""launch/train_gan.py under torchrun, two ranks on gloo: equal to one rank, and resumable however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mrigan.data import ShardSet
from mrigan.engine.distributed import World
from mrigan.evaluation import read_scores
from mrigan.models import load_bundle
from mrigan.scoring.shards import score_shards
from tests.training.runs import (
    STEPS,
    detector_config,
    finish,
    gan_config,
    gan_engines,
    hashes,
    last_step,
    logged,
    run_gan,
    start,
    start_gan,
    state,
    status,
    wait_for_step,
    write_tiny_shards,
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("tiny") / "shards")


def ranks_of(torchrun: subprocess.Popen[str]) -> list[int]:
    """Process ids of the ranks, in the order in which torchrun started them."""
    children = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split()
    return sorted(int(child) for child in children)


def test_two_ranks_train_as_one_does(shards: Path, tmp_path: Path) -> None:
    """To rounding, with dropout off and losses that are plain means.

    Rounding stays small until the first ReLU whose input is that near to zero; from then on the weights behind it
    differ by the size of a step. So: weights equal after three steps, and losses close to the end.
    """
    equal = ["model.dropout=0", "loss.per_root=image", "checkpoint.every=3", "checkpoint.keep=9"]
    process = start_gan(shards, tmp_path / "two", *equal, ranks=2)
    run_gan(shards, tmp_path / "one", *equal)
    code, said = finish(process)
    assert code == 0, said
    assert state(tmp_path / "two")["world_size"] == 2
    for name in ("generator", "discriminator"):
        one, two = (weights(tmp_path / run, 3, name) for run in ("one", "two"))
        torch.testing.assert_close(two, one, rtol=0, atol=5e-6)
    losses = [logged(tmp_path / run) for run in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=5e-3)
    assert [losses[1][step] for step in (1, 2, 3)] == pytest.approx([losses[0][step] for step in (1, 2, 3)], rel=1e-6)


def weights(run: Path, step: int, name: str) -> torch.Tensor:
    """All weights of a network in one row."""
    tensors = load_file(run / "checkpoints" / f"step-{step:06d}" / f"{name}.safetensors")
    return torch.cat([tensors[key].flatten() for key in sorted(tensors)])


def test_stopped_then_killed_ranks_end_as_if_undisturbed(shards: Path, tmp_path: Path) -> None:
    """Dropout is on; the bits are those of an undisturbed run on as many ranks."""
    undisturbed, run = tmp_path / "undisturbed", tmp_path / "run"
    whole = start_gan(shards, undisturbed, ranks=2)
    code, said = finish(whole)
    assert code == 0, said

    stopped = start_gan(shards, run, ranks=2)
    wait_for_step(run, 3, stopped)
    stopped.send_signal(signal.SIGTERM)
    code, said = finish(stopped)
    assert code != 0  # torchrun says nothing more; the marker file does
    assert status(run)["state"] == "stopped", said
    at = status(run)["step"]
    assert 3 <= at < STEPS
    assert state(run, at)["step"] == at

    killed = start_gan(shards, run, ranks=2)
    wait_for_step(run, min(max(at + 3, 8), STEPS - 1), killed)
    os.kill(ranks_of(killed)[1], signal.SIGKILL)
    code, said = finish(killed)
    assert code != 0
    assert last_step(run) <= STEPS

    code, said = finish(start_gan(shards, run, ranks=2))
    assert code == 0, said
    assert hashes(run) == hashes(undisturbed)
    assert logged(run) == logged(undisturbed)


def test_another_engine_on_another_number_of_ranks(shards: Path, tmp_path: Path) -> None:
    """ZeRO 2 on two ranks, then one process: the same samples with the same augmentation, and the moments of Adam.

    Slow, so that a ReLU that rounding closes costs little; see test_engines.py.
    """
    slow = ["model.dropout=0", "optim.lr=2e-6", "data.workers=0", "eval.samples=2", "checkpoint.keep=9"]
    process = start_gan(shards, tmp_path / "two", *slow, "engine.name=zero2", "train.steps=7", ranks=2)
    run_gan(shards, tmp_path / "one", *slow)
    code, said = finish(process)
    assert code == 0, said
    run_gan(shards, tmp_path / "two", *slow, "engine.name=single")
    assert state(tmp_path / "two", 7)["world_size"] == 2
    config = gan_config(shards, tmp_path, *slow)
    for name, engine in gan_engines(config, World(0, 1, 0, torch.device("cpu"))).items():
        tensors = engine.state_dict()[0]
        begin = torch.cat([tensors[key].flatten() for key in sorted(tensors)])
        one, two = (weights(tmp_path / run, STEPS, name) for run in ("one", "two"))
        assert (two - one).norm() < 0.005 * (one - begin).norm()
    losses = [logged(tmp_path / run) for run in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_every_rank_scores_its_part_of_the_held_out_faces(shards: Path, tmp_path: Path) -> None:
    """Evaluation on rank 0's part only must not come back: all faces count, each scored as one process would."""
    run = tmp_path / "run"
    config = detector_config(shards, run, "train.steps=2")
    process = start("detector/cpu-smoke.yaml", f"data.shards={shards}", f"run.dir={run}", "tracking.enabled=false",
                    "train.steps=2", ranks=2, page="train_detector.py")  # fmt: skip
    code, said = finish(process)
    assert code == 0, said
    scores = read_scores(run / "scores-val.parquet")
    held_out = ShardSet.open(config.data.shards, "val")
    assert len(scores) == len(held_out)
    alone = score_shards(load_bundle(run / "model"), held_out, model="run", device="cpu", workers=0, progress=False)
    assert scores.drop_columns(["logit", "prob"]).equals(alone.drop_columns(["logit", "prob"]))
    torch.testing.assert_close(
        torch.tensor(scores["logit"].to_pylist()), torch.tensor(alone["logit"].to_pylist()), rtol=1e-4, atol=1e-5
    )


@pytest.mark.faults
def test_a_run_under_zero_3(shards: Path, tmp_path: Path) -> None:
    """Evaluated, saved, continued and finished, though no rank holds all weights."""
    given = ["engine.name=zero3", "data.workers=0", "checkpoint.every=3", "eval.every=3", "eval.samples=2"]
    code, said = finish(start_gan(shards, tmp_path, *given, "train.steps=4", ranks=2))
    assert code == 0, said
    code, said = finish(start_gan(shards, tmp_path, *given, "train.steps=8", ranks=2))
    assert code == 0, said
    assert sorted(logged(tmp_path)) == list(range(1, 9))
    assert sorted(logged(tmp_path, "val/ssim")) == [3, 4, 6, 8]
    run_gan(shards, tmp_path, "data.workers=0", "train.steps=9", "eval.samples=2")
    assert status(tmp_path)["state"] == "finished"


@pytest.mark.faults
@pytest.mark.parametrize("name", ["zero1", "zero2", "zero3"])
def test_a_detector_under_zero(shards: Path, tmp_path: Path, name: str) -> None:
    """Against DDP on as many ranks: the same losses, the same scores of held-out faces."""
    found = []
    for engine in ("ddp", name):
        run = tmp_path / engine / "run"
        process = start(
            "detector/cpu-smoke.yaml",
            f"data.shards={shards}",
            f"run.dir={run}",
            "tracking.enabled=false",
            "train.steps=5",
            "data.workers=0",
            f"engine.name={engine}",
            ranks=2,
            page="train_detector.py",
        )
        code, said = finish(process)
        assert code == 0, said
        found.append((logged(run, "train/loss"), read_scores(run / "scores-val.parquet")["logit"].to_pylist()))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    torch.testing.assert_close(torch.tensor(found[1][1]), torch.tensor(found[0][1]), rtol=1e-3, atol=1e-4)

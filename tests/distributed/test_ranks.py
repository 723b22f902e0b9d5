"""Two ranks compute what one does, on the same global batch; and what ranks tell each other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.runs import PATIENCE, ROOT

CHECKS = ["-m", "tests.distributed.checks"]


def run(command: list[str], out: Path, ranks: int) -> list[dict[str, Any]]:
    out.mkdir()
    command = [sys.executable, *command, str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads((out / f"rank-{rank}.json").read_bytes()) for rank in range(ranks)]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(CHECKS, tmp_path_factory.mktemp("ranks") / "one", 1)[0]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *CHECKS]
    return run(torchrun, tmp_path_factory.mktemp("ranks") / "two", 2)


@pytest.mark.parametrize("per_root", ["image", "batch"])
def test_gan_steps(one: dict[str, Any], two: list[dict[str, Any]], per_root: str) -> None:
    assert two[0][per_root]["losses"] == two[1][per_root]["losses"]
    assert two[0][per_root]["losses"] == pytest.approx(one[per_root]["losses"], rel=1e-5)
    for name in ("generator", "discriminator"):
        assert two[0][per_root]["weights"][name] == two[1][per_root]["weights"][name]
        assert two[0][per_root]["weights"][name] == pytest.approx(one[per_root]["weights"][name], rel=1e-5)


def test_each_network_is_reduced_once_a_step(two: list[dict[str, Any]]) -> None:
    for found in two:
        assert found["image"]["reductions"] == {name: 4 * n for name, n in found["image"]["parameters"].items()}


def test_buckets_are_as_large_as_the_config_says(two: list[dict[str, Any]]) -> None:
    large, small = two[0]["image"], two[0]["small buckets"]
    assert small["buckets"]["generator"] > 2 * large["buckets"]["generator"]
    assert small["reductions"] == large["reductions"]
    assert small["losses"] == pytest.approx(large["losses"], rel=1e-5)


def test_classes_are_balanced_over_the_global_batch(one: dict[str, Any], two: list[dict[str, Any]]) -> None:
    """Rank 0 holds no fake at all."""
    assert two[0]["detector"]["losses"] == pytest.approx(one["detector"]["losses"], rel=1e-5)
    assert two[0]["detector"]["weights"] == pytest.approx(one["detector"]["weights"], rel=1e-4)


def test_running_statistics_are_the_same_on_all_ranks(two: list[dict[str, Any]]) -> None:
    assert two[0]["norm"]["statistics"] == two[1]["norm"]["statistics"]
    assert two[0]["norm"]["weights"] == two[1]["norm"]["weights"]
    assert two[0]["norm"]["statistics"]["norm.num_batches_tracked"] == 3
    assert any(two[0]["norm"]["statistics"]["norm.running_mean"])


def test_messages(one: dict[str, Any], two: list[dict[str, Any]]) -> None:
    for found in [one, *two]:
        said = found["messages"]
        assert said["broadcast"] == {"é": [1, None]}
        assert said["on_main"] == 40
        assert said["gathered"] == [float(i) for i in range(11)]
        assert "the disk is on fire" in said["failure"]
        assert "loss = nan" in said["diverged"]
        assert said["stop"] == "SIGUSR1"


def test_the_world_is_left_when_no_thread_holds_a_message(two: list[dict[str, Any]]) -> None:
    """A thread that frees a Python tensor while the interpreter ends aborts the process."""
    assert [found["held"] for found in two] == [0, 0]

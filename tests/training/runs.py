"""Runs of the smoke config on a tiny shard set, in this process or in one of their own that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from mrigan.config import DetectorConfig, GanConfig, MapConfig, ShardsConfig, load_config, to_dict
from mrigan.engine.build import build_engine
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.training.gan import build_networks
from mrigan.training.train import train
from tests.data.shards import make_samples, write_shards

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds until a process that says nothing is called hung
STEPS = 16
GAN = [f"train.steps={STEPS}", "checkpoint.every=5", "eval.every=8", "tracking.enabled=false"]
_SAID: dict[int, IO[str]] = {}  # by process


def write_tiny_shards(folder: Path, pairs: bool = True) -> Path:
    """21 reals and 30 fakes to train on, 6 and 9 held out: an epoch of 42, which no batch of 8 divides."""
    samples = [
        *make_samples(21, 30, size=64, pairs=pairs),
        *make_samples(6, 9, split="val", seed=1, size=64, pairs=pairs),
    ]
    write_shards(folder, samples, kind="pairs" if pairs else "faces")
    config = to_dict(ShardsConfig())
    config["faces"]["size"] = 64
    (folder / "plan.json").write_text(json.dumps({"config": config}))
    return folder


def gan_config(shards: Path, run: Path, *overrides: str) -> GanConfig:
    return load_config(GanConfig, "gan/cpu-smoke.yaml", [f"data.shards={shards}", f"run.dir={run}", *GAN, *overrides])


def detector_config(shards: Path, run: Path, *overrides: str) -> DetectorConfig:
    own = [f"data.shards={shards}", f"run.dir={run}", "tracking.enabled=false"]
    return load_config(DetectorConfig, "detector/cpu-smoke.yaml", [*own, *overrides])


def map_config(shards: Path, run: Path, *overrides: str) -> MapConfig:
    own = [f"data.shards={shards}", f"run.dir={run}", "tracking.enabled=false", "model.decoder=[16,8]"]
    return load_config(MapConfig, "detector/cpu-smoke.yaml", [*own, *overrides])


def gan_engines(config: GanConfig, world: World, precision: Precision | None = None) -> dict[str, Engine]:
    """New networks of MRI-GAN, drawn from the seed, with their optimizers."""
    precision = precision or Precision(config.train.precision, world.device)
    return {
        name: build_engine(network, config.optim, config.engine, world, precision)
        for name, network in build_networks(config).items()
    }


def run_gan(shards: Path, run: Path, *overrides: str, new: bool = False) -> Path:
    return train("gan", gan_config(shards, run, *overrides), new)


def run_detector(shards: Path, run: Path, *overrides: str, new: bool = False) -> Path:
    return train("detector", detector_config(shards, run, *overrides), new)


def start(*arguments: str, ranks: int = 0, page: str = "train_gan.py") -> subprocess.Popen[str]:
    """Start `launch/<page>` in its own process, or under torchrun."""
    command = [sys.executable]
    if ranks:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "--shutdown-timeout=60"]
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    # A file, not a pipe: loader processes hold a pipe open for seconds after their rank was killed.
    said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `finish` closes it
    command += [str(ROOT / "launch" / page), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT, text=True)
    _SAID[process.pid] = said
    return process


def start_gan(shards: Path, run: Path, *overrides: str, ranks: int = 0) -> subprocess.Popen[str]:
    return start("gan/cpu-smoke.yaml", f"data.shards={shards}", f"run.dir={run}", *GAN, *overrides, ranks=ranks)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process; its exit code and all that it said."""
    code = process.wait(timeout=PATIENCE)
    with _SAID.pop(process.pid) as said:
        said.seek(0)
        return code, said.read()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Watch until `ready()`; fails when the process ends before that."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert process.poll() is None, f"it ended first:\n{finish(process)[1]}"
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.002)


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Wait until the training step `step` is in the log."""
    wait_until(lambda: last_step(run) >= step, process)


def logged(run: Path, key: str = "train/generator") -> dict[int, Any]:
    """Step → value, of the whole lines in metrics.jsonl."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    return {row["step"]: row[key] for row in rows if key in row}


def last_step(run: Path, key: str = "train/generator") -> int:
    return max(logged(run, key), default=0)


def state(run: Path, step: int = STEPS) -> dict[str, Any]:
    return json.loads((run / "checkpoints" / f"step-{step:06d}" / "state.json").read_bytes())


def status(run: Path) -> dict[str, Any]:
    return json.loads((run / "status.json").read_bytes())


def hashes(run: Path, step: int = STEPS) -> dict[str, str]:
    """SHA-256 of the networks and optimizers at a step: equal = bit-identical."""
    return state(run, step)["files"]

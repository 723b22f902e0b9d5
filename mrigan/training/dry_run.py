"""`--dry-run`: say what a training would do and need, do one step of it, and leave nothing behind.

    torchrun --nproc-per-node 8 launch/train_gan.py configs/gan/paper.yaml data.shards=DIR run.dir=DIR --dry-run

The plan is printed before the step: a step that runs out of memory has its estimate above it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from mrigan.config import DetectorConfig, GanConfig, to_dict
from mrigan.engine.checkpoint import CheckpointStore
from mrigan.engine.distributed import join_world
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.engine.seeding import deterministic
from mrigan.engine.signals import StopRequest
from mrigan.errors import CheckpointError
from mrigan.tracking import Run
from mrigan.training.footprint import LOSSES, Footprint, Step, footprints
from mrigan.training.job import Job, open_data
from mrigan.training.journal import Journal
from mrigan.training.run_folder import RunFolder
from mrigan.training.system import peak_memory

C = TypeVar("C", GanConfig, DetectorConfig)


@dataclass(frozen=True)
class Trial(Generic[C]):
    """What one kind of training tells a dry run.

    Attributes:
        kind: "gan" or "detector".
        shard_kind: "pairs" or "any".
        networks: makes the bare networks.
        engines: makes the engines around them.
        step: one step, as `footprints` wants it.
        batches: the job's batches.
        depends: what the weights depend on besides the config and the data.
        averaged: the networks of which a moving average is kept.
    """

    kind: str
    shard_kind: str
    networks: Callable[[], Mapping[str, nn.Module]]
    engines: Callable[[Job[C]], Mapping[str, Engine]]
    step: Step
    batches: Callable[[Job[C]], Any]
    depends: Mapping[str, Any] = field(default_factory=dict)
    averaged: tuple[str, ...] = ()


def in_place(config: GanConfig | DetectorConfig) -> None:
    """Read shards where they are: a dry run stages none. Those at a URL have to be, and stay in `data.cache`."""
    if not any("://" in folder for folder in config.data.shards):
        config.data.cache = ""


def dry_run(trial: Trial[C], config: C, new: bool, say: Callable[[str], None]) -> None:
    """Print the plan, run one step on every rank, print what it took.

    Args:
        trial: the kind of training.
        config: as for the training.
        new: as for the training: whether an earlier run in the folder would be moved aside.
        say: prints a line, on rank 0.

    Raises:
        MriganError: what the training itself would raise before its second step; `CheckpointError` where the run folder
            would not take this config.
    """
    alone = config.engine.name.startswith("zero")
    with join_world(config.train.device, always_group=alone) as world, StopRequest(world) as stop:
        say = say if world.main else _say_nothing
        train, val, plan = open_data(config, trial.shard_kind, world)
        steps = config.train.steps or plan.steps(config.train.epochs, config.train.batch_size)
        depends = {"kind": trial.kind, "data_hash": train.hash, **trial.depends}
        folder = RunFolder(config.run.dir)
        where = world.on_main(lambda: _where(folder, config, depends, new))
        store = CheckpointStore(folder.checkpoints)
        precision = Precision(config.train.precision, world.device)
        untracked = Run(None, None)
        job = Job(trial.kind, config, depends, world, stop, train, val, plan, 1, folder, store, None, untracked,
                  Journal(None, untracked), precision)  # fmt: skip
        with deterministic(config.train.deterministic, world.device, config.engine.tf32):
            batches = trial.batches(job)
            batch = next(batches)
            if world.main:
                needs = footprints(
                    trial.networks,
                    trial.step,
                    batch,
                    precision=config.train.precision,
                    engine=config.engine.name,
                    world=world,
                )
                for line in plan_lines(job, steps, where, needs, trial.averaged):
                    say(line)
            world.barrier()
            engines = trial.engines(job)
            begin = time.perf_counter()
            losses = trial.step(engines, batch, precision, world)
            said = {name: float(world.mean(value)) for name, value in losses.items()}
            seconds = time.perf_counter() - begin
            batches.close()
        peak = max(int(p) for p in world.gather(torch.tensor([peak_memory(world.device)])))
        say("")
        say(f"one step     {seconds:.2f} s with start-up, peak memory {_gb(peak)} a rank ({_kind(world.device)})")
        say("             " + ", ".join(f"{name} {value:.4g}" for name, value in said.items()))
        say("nothing of this was kept")


def plan_lines(
    job: Job[Any], steps: int, where: str, needs: Mapping[str, Footprint], averaged: tuple[str, ...]
) -> list[str]:
    """What the training would do and need, in words."""
    config, world, train = job.config, job.world, job.config.train
    ranks, parts = world.size, config.engine.accumulate
    nodes = ranks // int(os.environ.get("LOCAL_WORLD_SIZE", str(ranks)))
    share = train.batch_size // ranks
    fakes = int((job.train.labels > 0).sum())
    average = sum((needs[name].parameters * 4 + needs[name].buffers) for name in averaged)
    total = sum(f.total for f in needs.values()) + average
    kept = sum(f.checkpoint for f in needs.values()) + average
    copies = config.checkpoint.keep + 1
    permanent = steps // config.checkpoint.permanent if config.checkpoint.permanent else 0
    free = shutil.disk_usage(_existing(Path(config.run.dir))).free
    lines = [
        f"{job.kind}: dry run of {config.run.dir}: {where}",
        "",
        f"ranks        {ranks} on {nodes} node{'s' if nodes > 1 else ''}, {_device(world.device)}; "
        f"engine {config.engine.name if ranks > 1 or config.engine.name != 'ddp' else 'single'}, {train.precision}",
        f"batch        {train.batch_size} a step = {ranks} ranks × {share}"
        + (f", each in {parts} parts of {share // parts}" if parts > 1 else ""),
        f"data         train {len(job.train) - fakes:,} real, {fakes:,} fake; held out {len(job.val):,}; "
        f"{config.data.workers} loader processes a rank",
        f"epoch        {job.plan.epoch_length:,} samples = {job.plan.epoch_length / train.batch_size:,.1f} steps",
        f"steps        {steps:,} = {steps * train.batch_size / job.plan.epoch_length:,.2f} epochs",
        "",
        "memory a rank        parameters    weights  gradients  optimizer  activations",
    ]
    for name, f in needs.items():
        numbers = f"{f.parameters:>14,} {_gb(f.weights):>10} {_gb(f.gradients):>10} {_gb(f.optimizer):>10}"
        lines.append(f"  {name:<15}{'' if name == LOSSES else numbers:>48} {_gb(f.activations):>12}")
    if average:
        lines.append(f"  {'average':<15}{'':>15}{_gb(average):>11}")
    lines.append(f"  {_gb(total)} in all, without workspaces; engine.accumulate divides the activations")
    reduced = {name: f.reduced for name, f in needs.items() if f.reduced}
    if reduced:
        each = ", ".join(f"{name} {_gb(size)}" for name, size in reduced.items())
        wire = 2 * (ranks - 1) / ranks * sum(reduced.values())
        lines.append(f"all-reduce   a step: {each}; {_gb(wire)} sent by each rank of a ring")
    lines += [
        f"checkpoint   {_gb(kept)} each, at most {copies + permanent} kept ({config.checkpoint.keep} newest, the best"
        + (f", {permanent} permanent" if permanent else "")
        + f"): {_gb(kept * (copies + permanent))}; {_gb(free)} are free there",
        "",
        "config",
        *_yaml(to_dict(config)),
    ]
    if kept * (copies + 1) > free:
        lines.append("WARNING: the disk of run.dir has no room for these checkpoints")
    return lines


def _where(folder: RunFolder, config: Any, depends: dict[str, Any], new: bool) -> str:
    """What the run folder would say to this config; nothing in it is touched."""
    if not (folder.path / "config.json").is_file():
        if folder.path.is_dir() and any(p.name != ".lock" for p in folder.path.iterdir()) and new:
            raise CheckpointError("--new would move a folder that holds something else than a run", where=folder.path)
        return "a new run"
    if new:
        return "a new run; the one that is there would be moved aside"
    if not folder.pinned:
        return "a new run; an earlier start there saved nothing"
    folder.compare(to_dict(config), depends)
    done = CheckpointStore(folder.checkpoints).steps()
    return f"would go on after step {done[-1]:,}" if done else "would start again: no checkpoint is there"


def _say_nothing(line: str) -> None:
    pass


def _kind(device: torch.device) -> str:
    return "allocated on the GPU" if device.type == "cuda" else "the whole process"


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _yaml(data: dict[str, Any]) -> list[str]:
    import yaml

    return ["  " + line for line in yaml.safe_dump(data, sort_keys=False).splitlines()]

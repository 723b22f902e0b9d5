"""`--dry-run`: print what a training would do and need, do one step, and write no files.

    torchrun --nproc-per-node 8 launch/train.py gan configs/gan/paper.yaml data.shards=DIR run.dir=DIR --dry-run

The plan is printed first, so that it can be read if the step runs out of memory.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from mrigan.config import to_dict
from mrigan.engine.checkpoint import CheckpointStore
from mrigan.engine.seeding import deterministic
from mrigan.errors import CheckpointError
from mrigan.health import Watchdog
from mrigan.storage import is_remote
from mrigan.training.callbacks.system import peak_memory
from mrigan.training.data import TrainingData
from mrigan.training.flops import flops_per_image
from mrigan.training.footprint import Footprint, footprints
from mrigan.training.run import joined_world
from mrigan.training.run_folder import RunFolder
from mrigan.training.state import TrainState
from mrigan.training.task import Task
from mrigan.training.tasks import find_task


def dry_run(name: str, config: Any, new: bool, say: Callable[[str], None]) -> None:
    """Print the plan, do one step on every rank, and print its time and memory.

    Args:
        name, config, new: as for the training; `config.data.cache` may be cleared.
        say: prints a line, on rank 0.

    Raises:
        MriganError: the errors of a training up to its first step; `CheckpointError` if the run folder refuses this
            config.
    """
    if not any(map(is_remote, config.data.shards)):
        config.data.cache = ""  # local shards are read in place; those at a URL must be staged
    task = find_task(name).task_class()(config)
    with joined_world(task) as world:
        say = say if world.main else lambda line: None
        data = TrainingData.open(task, world)
        depends = {"kind": task.name, "data_hash": data.train.hash, **task.depends}
        folder = RunFolder(config.run.dir)
        where = world.on_main(lambda: _where(folder, config, depends, new))
        if world.main:
            for line in plan_lines(task, data, where, footprints(task, world.size)):
                say(line)
        world.barrier()
        with deterministic(world.device, config.engine.tf32):
            state = TrainState.build(task, world)
            batches = dataclasses.replace(data, steps=1).batches(state, Watchdog())
            batch = next(batches)
            begin = time.perf_counter()
            result = task.step(state, batch)
            means = {name: float(world.mean(value)) for name, value in {**result.losses, **result.metrics}.items()}
            seconds = time.perf_counter() - begin
            batches.close()
        peak = max(int(p) for p in world.gather(torch.tensor([peak_memory(world.device)])))
        say("")
        measured = "allocated on the GPU" if world.device.type == "cuda" else "the whole process"
        say(f"one step     {seconds:.2f} s with start-up, peak memory {_gb(peak)} per rank ({measured})")
        say("             " + ", ".join(f"{name} {value:.4g}" for name, value in means.items()))
        say("no files were written")


def plan_lines(task: Task[Any], data: TrainingData, where: str, needs: Mapping[str, Footprint]) -> list[str]:
    """The lines of the plan."""
    config, world, train, steps = task.config, data.world, task.config.train, data.steps
    ranks, parts, length = world.size, config.engine.accumulate, data.plan.epoch_length
    nodes = ranks // int(os.environ.get("LOCAL_WORLD_SIZE", str(ranks)))
    share = train.batch_size // ranks
    fakes = int((data.train.labels > 0).sum())
    total = sum(f.weights + f.gradients + f.optimizer for f in needs.values())
    kept = sum(f.checkpoint for f in needs.values())
    copies = config.checkpoint.keep + 1
    permanent = steps // config.checkpoint.permanent if config.checkpoint.permanent else 0
    target = Path(config.run.dir).absolute()
    free = shutil.disk_usage(next(path for path in (target, *target.parents) if path.is_dir())).free
    device = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu"
    lines = [
        f"{task.name}: dry run of {config.run.dir}: {where}",
        "",
        f"ranks        {ranks} on {nodes} node{'s' if nodes > 1 else ''}, {device}; "
        f"engine {config.engine.name}, {train.precision}",
        f"batch        {train.batch_size} per step = {ranks} ranks × {share}"
        + (f", each in {parts} parts of {share // parts}" if parts > 1 else ""),
        f"data         train {len(data.train) - fakes:,} real, {fakes:,} fake; held out {len(data.val):,}; "
        f"{config.data.workers} loader processes per rank",
        f"epoch        {length:,} samples = {length / train.batch_size:,.1f} steps",
        f"steps        {steps:,} = {steps * train.batch_size / length:,.2f} epochs",
        f"arithmetic   {flops_per_image(task) / 1e9:,.1f} GFLOP per image",
        "",
        "memory per rank      parameters    weights  gradients  optimizer",
    ]
    for name, f in needs.items():
        numbers = f"{f.parameters:>14,} {_gb(f.weights):>10} {_gb(f.gradients):>10} {_gb(f.optimizer):>10}"
        lines.append(f"  {name:<15}{numbers:>48}")
    lines.append(f"  {_gb(total)} in total, without activations and workspaces, which engine.accumulate divides")
    reduced = {name: f.reduced for name, f in needs.items() if f.reduced}
    if reduced:
        each = ", ".join(f"{name} {_gb(size)}" for name, size in reduced.items())
        wire = 2 * (ranks - 1) / ranks * sum(reduced.values())
        lines.append(f"all-reduce   per step: {each}; in a ring each rank sends {_gb(wire)}")
    lines += [
        f"checkpoint   {_gb(kept)} each, at most {copies + permanent} kept ({config.checkpoint.keep} newest, the best"
        + (f", {permanent} permanent" if permanent else "")
        + f"): {_gb(kept * (copies + permanent))}; {_gb(free)} are free on that disk",
        "",
        "config",
        *textwrap.indent(yaml.safe_dump(to_dict(config), sort_keys=False), "  ").splitlines(),
    ]
    if kept * (copies + 1) > free:
        lines.append("WARNING: the disk of run.dir has too little space for these checkpoints")
    return lines


def _where(folder: RunFolder, config: Any, depends: dict[str, Any], new: bool) -> str:
    """What the run folder would do with this config; the folder is only read."""
    if not (folder.path / "config.json").is_file():
        if folder.path.is_dir() and any(p.name != ".lock" for p in folder.path.iterdir()) and new:
            raise CheckpointError("--new would move a folder that is not a run", where=folder.path)
        return "a new run"
    if new:
        return "a new run; the existing run would be moved aside"
    if not folder.pinned:
        return "a new run; an earlier start in this folder saved nothing"
    folder.compare(config, depends)
    done = CheckpointStore(folder.checkpoints).steps()
    return f"would continue after step {done[-1]:,}" if done else "would start again: there is no checkpoint"


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"

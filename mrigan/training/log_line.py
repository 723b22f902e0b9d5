"""A line of the log: how fast, how long still, and what the losses are; the same to `metrics.jsonl` and MLflow.

This is where the host waits for the device, and nowhere between two lines.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch

from mrigan.engine.interface import Engine
from mrigan.training.guard import SKIPPED
from mrigan.training.job import Job
from mrigan.training.meters import Meter
from mrigan.training.system import SystemMonitor, peak_memory
from mrigan.training.throughput import Work, flops_per_image, peak_flops

GB = 1e9


class LogHook:
    """Means since the last line, over steps and ranks; time; memory.

    Args:
        job: the training job.
        engines: whose gradients' norms are logged.
        work: what the step does, for the MFU; None = without.
    """

    def __init__(self, job: Job[Any], engines: Mapping[str, Engine], work: Work | None = None) -> None:
        self.job, self.engines, self.meter = job, engines, Meter(job.world)
        self._system = SystemMonitor(job.world, job.folder.path, job.config.tracking.system_every)
        self._peak = _peak(job) if work is not None and job.world.main else None
        if self._peak is not None and work is not None:
            self._flops = flops_per_image(work, job.config.train.precision, job.config.engine.accumulate)
        self._since, self._step, self._waited = 0.0, 0, 0.0  # at the last line
        self._begin()

    def after_step(self, step: int, losses: Mapping[str, torch.Tensor]) -> dict[str, float] | None:
        """Add a step; where a line is due, log it.

        Returns:
            The means of the losses in the line, the same on every rank; None where none is due.
        """
        norms = {f"grad_norm/{name}": engine.grad_norm for name, engine in self.engines.items()}
        self.meter.add({**losses, **norms})
        job = self.job
        if not is_due(job, step):
            return None
        means = self.meter.read()
        self.meter.reset()
        now = time.perf_counter()
        seconds = max(now - self._since, 1e-9)
        metrics = {name if name in norms else f"train/{name}": value for name, value in means.items()}
        metrics |= self._rates(step, seconds)
        job.journal.log(step, metrics, line=log_line(step, job.steps, metrics))
        self._since, self._step, self._waited = now, step, job.waited
        return {name: means[name] for name in losses}

    def skip(self, seconds: float) -> None:
        """Leave time that was not spent on training out of the rate; not out of what is left."""
        self._since += seconds

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint, be it in the middle of a run."""
        self.meter.load(state)
        self._begin()

    def _begin(self) -> None:
        self._since, self._step, self._waited = time.perf_counter(), self.job.start, self.job.waited
        self._pace: tuple[float, int] | None = None  # the time and the step of this start's first line

    def _rates(self, step: int, seconds: float) -> dict[str, float]:
        job, batch, steps = self.job, self.job.config.train.batch_size, step - self._step
        mine = [job.waited - self._waited, float(peak_memory(job.world.device)), float(self._system.due)]
        ranks = torch.stack(job.world.gather(torch.tensor(mine, dtype=torch.float64)))
        waited, memory = ranks.max(0).values.tolist()[:2]
        if ranks[0, 2]:
            job.journal.log(step, self._system.look(), say=False)
        speed = steps * batch / seconds
        rates = {
            "epoch": (step + job.left_out) * batch / job.plan.epoch_length,
            "images_per_second": speed,
            "step_time_ms": 1000 * seconds / steps,
            "data_wait": min(waited / seconds, 1.0),
            "peak_memory_gb": memory / GB,
            "eta_seconds": self._left(step, seconds / steps),
        }
        if self._peak is not None:
            rates["mfu"] = self._flops * speed / (self._peak * job.world.size)
        return rates

    def _left(self, step: int, pace: float) -> float:
        """Seconds to the end, evaluations and checkpoints included; the first line, which is slower, is not typical."""
        now = time.perf_counter()
        if self._pace is None:
            self._pace = now, step
        elif step > self._pace[1]:
            pace = (now - self._pace[0]) / (step - self._pace[1])
        return pace * (self.job.steps - step)


def is_due(job: Job[Any], step: int) -> bool:
    """Whether a line is due after `step`."""
    return step % job.config.tracking.log_every == 0 or step == job.steps


def log_line(step: int, steps: int, metrics: Mapping[str, float]) -> str:
    """The metrics of a step as a person reads them; those of a gradient that was not finite are left out.

    Args:
        metrics: under their names in MLflow; losses begin with "train/", norms of gradients with "grad_norm/".
    """
    losses, norms = (
        [f"{name.removeprefix(of)} {value:.4g}" for name, value in metrics.items()
         if name.startswith(of) and math.isfinite(value) and (value or name != f"train/{SKIPPED}")]
        for of in ("train/", "grad_norm/")
    )  # fmt: skip
    parts = [
        f"{metrics['images_per_second']:.1f} images/s",
        f"{metrics['step_time_ms']:.1f} ms a step",
        f"data wait {metrics['data_wait']:.1%}",
        *losses,
        *(["gradient " + " ".join(norms)] if norms else []),
        f"peak {metrics['peak_memory_gb']:.2f} GB",
        *([f"MFU {metrics['mfu']:.1%}"] if "mfu" in metrics else []),
        f"ETA {timedelta(seconds=round(metrics['eta_seconds']))}",
    ]
    return f"step {step}/{steps}: " + ", ".join(parts)


def _peak(job: Job[Any]) -> float | None:
    device = job.world.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return peak_flops(name, job.config.train.precision, job.config.engine.tf32)

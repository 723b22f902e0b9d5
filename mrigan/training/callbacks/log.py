"""A line of the log: losses, rates, memory and the remaining time; also in `metrics.jsonl` and MLflow.

Only here the host waits for the device, not between two lines.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import torch

from mrigan.engine.optimizer import learning_rate
from mrigan.training.callbacks.base import Callback
from mrigan.training.callbacks.meters import Meter
from mrigan.training.callbacks.system import SystemMonitor, peak_memory
from mrigan.training.flops import flops_per_image, peak_flops
from mrigan.training.job import Job
from mrigan.training.task import StepResult

log = logging.getLogger(__name__)

GB = 1e9
SKIPPED = "skipped"  # among the losses of a line: the fraction of steps that an optimizer skipped


class Log(Callback):
    """Logs a line every `tracking.log_every` steps: means over the steps since the last line and over the ranks.

    Args:
        job: the training.
        on_line: called with the mean losses of each line, which are the same on every rank.
    """

    def __init__(self, job: Job, on_line: Callable[[Mapping[str, float]], None]) -> None:
        super().__init__(job)
        self.on_line, self.meter = on_line, Meter(job.run.world)
        self._system = SystemMonitor(job.run.world, job.run.folder.path, job.config.tracking.system_every)
        self._peak = _peak(job) if job.run.world.main else None
        if self._peak is not None:
            self._flops = flops_per_image(job.task)
        self._since, self._step, self._waited = 0.0, 0, 0.0  # at the last line
        self._left = 0.0  # the time when this callback returned
        self._begin()

    def after_step(self, result: StepResult) -> None:
        job, step = self.job, self.job.state.step
        self._since += max(job.data.asked - self._left, 0.0)  # without the time of the callbacks after this one
        norms = {f"grad_norm/{name}": engine.grad_norm for name, engine in job.state.engines.items()}
        self.meter.add({**result.losses, **result.metrics, SKIPPED: result.skipped, **norms})
        if job.line_is_due():
            means = self.meter.read()
            self.meter.reset()
            now = time.perf_counter()
            seconds = max(now - self._since, 1e-9)
            metrics = {name if name in norms else f"train/{name}": value for name, value in means.items()}
            metrics |= self._rates(step, seconds)
            job.run.tracking.log_metrics(metrics, step)
            log.info("%s", log_line(step, job.data.steps, metrics))
            self._since, self._step, self._waited = now, step, job.data.waited
            self.on_line({name: means[name] for name in result.losses})
        self._left = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        return {"meter": self.meter.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint, also in the middle of a run."""
        self.meter.load_state_dict(state["meter"])
        self._begin()

    def _begin(self) -> None:
        self._since, self._step, self._waited = time.perf_counter(), self.job.state.step, self.job.data.waited
        self._left = self._since
        self._pace: tuple[float, int] | None = None  # time and step of the first line of this start

    def _rates(self, step: int, seconds: float) -> dict[str, float]:
        job, batch, steps = self.job, self.job.config.train.batch_size, step - self._step
        local = [job.data.waited - self._waited, float(peak_memory(job.run.world.device)), float(self._system.due)]
        ranks = torch.stack(job.run.world.gather(torch.tensor(local, dtype=torch.float64)))
        waited, memory = ranks.max(0).values.tolist()[:2]
        if ranks[0, 2]:
            job.run.tracking.log_metrics(self._system.measure(), step)
        speed = steps * batch / seconds
        rates = {
            "epoch": job.state.place * batch / job.data.plan.epoch_length,
            "images_per_second": speed,
            "step_time_ms": 1000 * seconds / steps,
            "data_wait": min(waited / seconds, 1.0),
            "peak_memory_gb": memory / GB,
            "eta_seconds": self._eta(step, seconds / steps),
        }
        if job.config.optim.schedule != "constant" or job.config.optim.warmup:
            rates["learning_rate"] = learning_rate(job.config.optim, step - 1)
        if self._peak is not None:
            rates["mfu"] = self._flops * speed / (self._peak * job.run.world.size)
        return rates

    def _eta(self, step: int, pace: float) -> float:
        """Seconds to the end, including evaluations and checkpoints. The first line is slower, so it is not counted."""
        now = time.perf_counter()
        if self._pace is None:
            self._pace = now, step
        elif step > self._pace[1]:
            pace = (now - self._pace[0]) / (step - self._pace[1])
        return pace * (self.job.data.steps - step)


def log_line(step: int, steps: int, metrics: Mapping[str, float]) -> str:
    """A line for people; values that are not finite are omitted.

    Args:
        metrics: with their names in MLflow; losses begin with "train/", gradient norms with "grad_norm/".
    """
    losses, norms = (
        [f"{name.removeprefix(of)} {value:.4g}" for name, value in metrics.items()
         if name.startswith(of) and math.isfinite(value) and (value or name != f"train/{SKIPPED}")]
        for of in ("train/", "grad_norm/")
    )  # fmt: skip
    parts = [
        f"{metrics['images_per_second']:.1f} images/s",
        f"{metrics['step_time_ms']:.1f} ms per step",
        f"data wait {metrics['data_wait']:.1%}",
        *losses,
        *(["gradient " + " ".join(norms)] if norms else []),
        f"peak {metrics['peak_memory_gb']:.2f} GB",
        *([f"MFU {metrics['mfu']:.1%}"] if "mfu" in metrics else []),
        f"ETA {timedelta(seconds=round(metrics['eta_seconds']))}",
    ]
    return f"step {step}/{steps}: " + ", ".join(parts)


def _peak(job: Job) -> float | None:
    device = job.run.world.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return peak_flops(name, job.config.train.precision, job.config.engine.tf32)

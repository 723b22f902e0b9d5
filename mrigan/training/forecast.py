"""How long a step will take, said before the first one where it is long: a CPU takes minutes for what a GPU does in
a tenth of a second, and until then a training says nothing."""

from __future__ import annotations

import logging
import time
from typing import Any

from mrigan.engine.interrupt import expect_steps_of, in_words
from mrigan.training.flops import bare_state, random_batch
from mrigan.training.job import Job
from mrigan.training.task import Task

log = logging.getLogger(__name__)

PROBE = 2  # faces, one of each class
LONG = 20.0  # seconds of a step from which on it is said
SMALL = 2**19  # pixels of a rank's share, under which no step is that long


def warn_of_long_steps(job: Job) -> None:
    """Time the step's own code on two faces, on the CPU, and say what a whole step will take where that is long.

    Nothing of the training is touched: the probe has networks of its own, of the same shapes.
    """
    world = job.run.world
    share, size = job.config.train.batch_size / world.size, job.task.inputs.size
    if world.device.type != "cpu" or not world.main or share * size**2 < SMALL:
        return
    seconds = probe(job.task) * share / PROBE
    expect_steps_of(seconds)
    if seconds >= LONG:
        left = job.data.steps - job.state.step
        log.warning(
            "a step takes about %s on this CPU (%d faces of %d px a rank), so the %d steps to come take about %s. "
            "Ctrl-C stops after a step and saves, a second one at once. Smaller: train.batch_size, model.size, or a "
            "recipe such as gan/demo.yaml; faster: a GPU",
            in_words(seconds), round(share), size, left, in_words(seconds * left),
        )  # fmt: skip


def probe(task: Task[Any]) -> float:
    """CPU-bound seconds of the step's own code on `PROBE` random faces, forward and backward."""
    state, batch = bare_state(task), random_batch(task.inputs, PROBE)
    begin = time.perf_counter()
    task.step(state, batch)
    return time.perf_counter() - begin

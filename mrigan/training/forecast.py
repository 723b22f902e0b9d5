"""A warning before the first step if steps will be slow: a training logs nothing until its first step is done, and a
CPU takes minutes for what a GPU does in a tenth of a second."""

from __future__ import annotations

import logging
import time
from typing import Any

from mrigan.engine.interrupt import expect_steps_of, in_words
from mrigan.training.flops import bare_state, random_batch
from mrigan.training.job import Job
from mrigan.training.task import Task

log = logging.getLogger(__name__)

PROBE_FACES = 2  # one of each class
MIN_SECONDS = 20.0  # per step, for a warning
MIN_PIXELS = 2**19  # per rank; a smaller step is never that slow


def warn_of_long_steps(job: Job) -> None:
    """Time the code of the step on two faces, on the CPU, and warn if a whole step will be slow.

    The probe uses its own networks, so it changes nothing of the training.
    """
    world = job.run.world
    share, size = job.config.train.batch_size / world.size, job.task.inputs.size
    if world.device.type != "cpu" or not world.main or share * size**2 < MIN_PIXELS:
        return
    seconds = probe(job.task) * share / PROBE_FACES
    expect_steps_of(seconds)
    if seconds >= MIN_SECONDS:
        left = job.data.steps - job.state.step
        log.warning(
            "a step takes about %s on this CPU (%d faces of %d px per rank); the remaining %d steps take about %s. "
            "Ctrl-C stops after the step and saves; a second Ctrl-C stops at once. To be faster: a smaller "
            "train.batch_size or model.size, a recipe such as gan/demo.yaml, or a GPU",
            in_words(seconds), round(share), size, left, in_words(seconds * left),
        )  # fmt: skip


def probe(task: Task[Any]) -> float:
    """Seconds of one step, forward and backward, on `PROBE_FACES` random faces."""
    state, batch = bare_state(task), random_batch(task.inputs, PROBE_FACES)
    begin = time.perf_counter()
    task.step(state, batch)
    return time.perf_counter() - begin

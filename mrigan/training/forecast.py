"""How long a step will take, said before the first one where it is long: a CPU takes minutes for what a GPU does in
a tenth of a second, and until then a training says nothing."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch

from mrigan.data import Batch
from mrigan.engine.distributed import World
from mrigan.engine.interrupt import expect_steps_of, in_words
from mrigan.engine.precision import Precision
from mrigan.training.job import Job
from mrigan.training.throughput import Work, Working

log = logging.getLogger(__name__)

PROBE = 2  # faces, one of each class
LONG = 20.0  # seconds of a step from which on it is said
SMALL = 2**19  # pixels of a rank's share, under which no step is that long


def warn_of_long_steps(job: Job[Any], work: Work) -> float:
    """Time the step's own code on two faces, on the CPU, and say what a whole step will take where that is long.

    Nothing of the training is touched: the probe has networks of its own, of the same shapes.

    Returns:
        The estimate in seconds; 0 on a GPU, and where a step is short for certain.
    """
    if job.world.device.type != "cpu" or not job.world.main:
        return 0.0
    train = job.config.train
    share = train.batch_size / job.world.size
    if share * work.size**2 < SMALL:
        return 0.0
    seconds = probe(work, train.precision) * share / PROBE
    expect_steps_of(seconds)
    if seconds >= LONG:
        left = job.steps - job.start
        log.warning(
            "a step takes about %s on this CPU (%d faces of %d px a rank), so the %d steps to come take about %s. "
            "Ctrl-C stops after a step and saves, a second one at once. Smaller: train.batch_size, model.size, or a "
            "recipe such as gan/demo.yaml; faster: a GPU",
            in_words(seconds), round(share), work.size, left, in_words(seconds * left),
        )  # fmt: skip
    return seconds


def probe(work: Work, precision: str) -> float:
    """CPU-bound seconds of the step's own code on `PROBE` random faces, forward and backward."""
    cpu = torch.device("cpu")
    engines = {name: Working(network) for name, network in work.networks().items()}
    face = torch.randint(0, 256, (PROBE, 3, work.size, work.size), dtype=torch.uint8)
    zeros = torch.zeros(PROBE, dtype=torch.int64)
    label = torch.arange(PROBE).remainder(2).float()
    batch = Batch(face, face if work.mri else None, label, zeros, zeros, zeros, step=0)
    begin = time.perf_counter()
    work.step(engines, batch, Precision(precision, cpu), World(0, 1, 0, cpu))
    return time.perf_counter() - begin

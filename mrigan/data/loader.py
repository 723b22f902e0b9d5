"""Loaders: what the epoch plan names, as batches of pictures.

All of them give the same samples in the same order with the same flips and augmentation, whatever reads and decodes:
that depends on the plan and the keys only. Pixels are those of libjpeg-turbo, or within a decoder's tolerance of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from mrigan.data.assembly import Request
from mrigan.data.augment import Augment
from mrigan.data.backends.base import Loader
from mrigan.data.choice import Means, open_loader
from mrigan.data.plan import EpochPlan, rank_range
from mrigan.data.reader import ShardSet
from mrigan.data.samples import Samples


def make_loader(
    shards: ShardSet,
    plan: EpochPlan,
    *,
    global_batch: int,
    start_step: int,
    stop_step: int,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 2,
    workers_are: str = "threads",
    library: str = "torch",
    decode_on: str = "cpu",
    device: torch.device | str = "cpu",
    flip: float = 0.5,
    size: int = 256,
    seed: int = 0,
    augment: Augment | None = None,
    mri: bool | None = None,
    on_bad: str = "stop",
    pin_memory: bool = False,
) -> Loader:
    """The training batches `start_step` … `stop_step - 1` of one rank.

    Args:
        global_batch: samples a step, over all ranks; a multiple of `world_size`.
        workers: threads or processes that read and decode; 0 = the caller does.
        library: "torch" (OpenCV on a CPU, torchvision on a GPU), "dali", or "auto".
        decode_on: "cpu", "cuda", or "auto".
        device: that trains; where `decode_on` is "cuda" the pictures are there already.
        flip: probability of a horizontal flip, of face and MRI together.
        size: px, side of the pictures; stored ones of another size are resized by area.
        seed: of flips and augmentation, which depend on (seed, epoch, key) only.
        augment: applied to the face, after the flip; called with a generator of its own for every sample.
        mri: read the MRIs; None = where the shards are pairs and the face is not augmented (it would not fit its MRI).
        on_bad: what a bad sample does; see `Samples`.
        pin_memory: hand out page-locked batches, for a GPU.

    Raises:
        ConfigError: `global_batch` is no multiple of `world_size`, shared memory is too small for processes, or the
            decoder that was asked for is not to be had here.
        ShardError: while iterating, a missing, cut or damaged sample: names the shard, the key and the offset.
        MriganError: while iterating, no batch comes for long, or a worker process was killed. (Where it dies during a
            training step, torch's own RuntimeError, which says so too, can come there.)
    """
    part = rank_range(global_batch, rank, world_size)
    if plan.samples != len(shards):
        raise ValueError(f"the plan is for {plan.samples} samples, the shards hold {len(shards)}")
    if mri is None:
        mri = shards.kind == "pairs" and augment is None
    if mri and augment is not None:
        raise ValueError("an augmented face no longer fits its MRI: load one or the other")

    def requests() -> Iterator[Request]:
        for step in range(start_step, stop_step):
            ids, epochs = plan.batch_with_epochs(step, global_batch)
            yield Request(step, ids[part], epochs[part])

    samples = Samples(shards, size=size, seed=seed, flip=flip, augment=augment, mri=mri, on_bad=on_bad)
    means = Means(library, decode_on, torch.device(device), workers, workers_are, pin_memory)
    return open_loader(samples, requests(), part.stop - part.start, means)


def eval_batches(
    shards: ShardSet,
    ids: npt.ArrayLike,
    batch_size: int,
    *,
    workers: int = 0,
    workers_are: str = "threads",
    size: int = 256,
    mri: bool | None = None,
    pin_memory: bool = False,
) -> Loader:
    """The samples `ids` in their order, unchanged, `batch_size` at a time; the last batch may be smaller.

    A bad sample stops it, always: a score that another sample was substituted in would be a wrong one.
    """
    wanted = np.asarray(ids, dtype=np.int64)

    def requests() -> Iterator[Request]:
        for step, start in enumerate(range(0, len(wanted), batch_size)):
            part = wanted[start : start + batch_size]
            yield Request(step, part, np.zeros_like(part))

    samples = Samples(shards, size=size, mri=shards.kind == "pairs" if mri is None else mri)
    means = Means(workers=workers, workers_are=workers_are, pin_memory=pin_memory)
    return open_loader(samples, requests(), batch_size, means)

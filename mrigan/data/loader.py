"""Loaders: the batches that an epoch plan names.

All backends give the same samples in the same order with the same flips and augmentation: these depend on the plan, the
seed and the keys only. Pixels are those of libjpeg-turbo, or within a decoder's tolerance of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from mrigan.data.backends.base import Loader
from mrigan.data.backends.batched import BatchedLoader
from mrigan.data.backends.dali import DaliDecoder
from mrigan.data.backends.decoder import BatchDecodeError, BatchDecoder, probe
from mrigan.data.backends.nvjpeg import TorchvisionDecoder
from mrigan.data.backends.processes import ProcessLoader
from mrigan.data.backends.threads import ThreadLoader
from mrigan.data.backends.webdataset import SampleStream, WebDatasetLoader
from mrigan.data.batch import Request
from mrigan.data.plan import EpochPlan, rank_range
from mrigan.data.reader import ShardSet
from mrigan.data.samples import Samples
from mrigan.data.self_blends import BlendedShards, SelfBlends
from mrigan.errors import ConfigError
from mrigan.imaging.face_augmentation import takes_planes

log = logging.getLogger(__name__)
MakeDecoder = Callable[[], BatchDecoder]


@dataclass(frozen=True)
class LoaderOptions:
    """How batches are made. Their contents do not depend on it, except for the rounding of the decoders, and for the
    order of samples if they are streamed.

    Attributes:
        library: "torch" (OpenCV on a CPU, torchvision on a GPU) or "dali"; "auto": DALI on a GPU if it is installed;
            "webdataset": the shards are streamed, in an order of its own (see `mrigan.data.backends.webdataset`).
        decode_on: "cpu" or "cuda"; "auto": on `device`.
        device: the device that trains. If pictures are decoded on CUDA, batches come on it.
        workers: threads or processes that read and decode; 0 = the caller does.
        workers_are: "threads" or "processes".
        pin_memory: yield page-locked batches, for a GPU.

    Raises:
        ValueError: another word.
    """

    library: str = "torch"
    decode_on: str = "cpu"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    workers: int = 0
    workers_are: str = "threads"
    pin_memory: bool = False

    def __post_init__(self) -> None:
        for word, words in (
            (self.library, ("torch", "dali", "auto", "webdataset")),
            (self.decode_on, ("cpu", "cuda", "auto")),
            (self.workers_are, ("threads", "processes")),
        ):
            if word not in words:
                raise ValueError(f"{word!r} is none of {', '.join(words)}")

    @property
    def on_cuda(self) -> bool:
        """Whether pictures are to be decoded on CUDA."""
        return self.decode_on == "cuda" or (self.decode_on == "auto" and self.device.type == "cuda")


def make_loader(
    samples: Samples,
    plan: EpochPlan,
    steps: range,
    global_batch: int,
    *,
    rank: int = 0,
    world_size: int = 1,
    options: LoaderOptions | None = None,
) -> Loader:
    """The training batches `steps` of one rank.

    Args:
        samples: of the shards that `plan` is for.
        global_batch: samples a step, over all ranks; a multiple of `world_size`.

    Raises:
        ConfigError: `global_batch` is not a multiple of `world_size`, shared memory is too small for processes, or the
            requested decoder is not available on this machine.
        ShardError: while iterating, a missing, cut or damaged sample: names the shard, the key and the offset.
        MriganError: while iterating, no batch comes for a long time, or a worker process was killed. (If it dies during
            a training step, torch may raise its own RuntimeError there.)
    """
    options = options or LoaderOptions()
    part = rank_range(global_batch, rank, world_size)
    if plan.samples != len(samples.shards):
        raise ValueError(f"the plan is for {plan.samples} samples, the shards hold {len(samples.shards)}")

    if options.library == "webdataset":
        if options.decode_on == "cuda":
            raise ConfigError("data.loader=webdataset decodes on the CPU", fix="data.decode_on=cpu")
        fakes = 0.5 if plan.balance else float(samples.shards.labels.mean())
        stream = SampleStream(samples, part.stop - part.start, fakes, steps.start, rank, world_size)
        return WebDatasetLoader(stream, steps, workers=options.workers, pin_memory=options.pin_memory)

    def requests() -> Iterator[Request]:
        for step in steps:
            ids, epochs = plan.batch_with_epochs(step, global_batch)
            yield Request(step, ids[part], epochs[part])

    return open_loader(samples, requests(), part.stop - part.start, options)


def eval_batches(
    shards: ShardSet,
    ids: npt.ArrayLike,
    batch_size: int,
    *,
    size: int = 256,
    mri: bool | None = None,
    workers: int = 0,
    workers_are: str = "threads",
    on_bad: str = "stop",
) -> Loader:
    """The samples `ids` in their order, unchanged, `batch_size` at a time; the last batch may be smaller.

    Args:
        on_bad: as for `Samples`. For scores leave "stop": that of a substitute would be reported under the wrong name.
    """
    requested = np.asarray(ids, dtype=np.int64)

    def requests() -> Iterator[Request]:
        for step, start in enumerate(range(0, len(requested), batch_size)):
            part = requested[start : start + batch_size]
            yield Request(step, part, np.zeros_like(part))

    samples = Samples(shards, size=size, mri=mri, on_bad=on_bad)
    if isinstance(shards, BlendedShards):
        samples = SelfBlends(shards, size=size, mri=mri is not False, on_bad=on_bad)
    return open_loader(samples, requests(), batch_size, LoaderOptions(workers=workers, workers_are=workers_are))


def open_loader(samples: Samples, requests: Iterable[Request], batch_size: int, options: LoaderOptions) -> Loader:
    """The loader of `requests`, each of at most `batch_size` samples, by the backend that `options` ask for.

    Raises:
        ConfigError: the requested decoder is not available on this machine.
    """
    make = _decoder(samples, batch_size, options)
    if make is not None:
        device = options.device if options.on_cuda else torch.device("cpu")
        return BatchedLoader(samples, requests, make=make, device=device, workers=options.workers)
    if options.workers and options.workers_are == "processes":
        return ProcessLoader(
            samples, requests, batch_size=batch_size, workers=options.workers, pin_memory=options.pin_memory
        )
    return ThreadLoader(samples, requests, workers=options.workers, pin_memory=options.pin_memory)


def _decoder(samples: Samples, batch_size: int, options: LoaderOptions) -> MakeDecoder | None:
    """What makes the batch decoder; None = OpenCV, picture by picture."""
    if isinstance(samples, SelfBlends):
        return None  # they are made on the CPU
    cuda = options.on_cuda
    if cuda and options.device.type != "cuda":
        raise ConfigError("data.decode_on=cuda, but training is on the CPU", fix="data.decode_on=cpu, or a GPU")
    if cuda and samples.augment is not None and not takes_planes(samples.augment):
        if options.decode_on == "cuda":
            raise ConfigError(
                "this augmentation is not implemented for pictures on a GPU",
                where="data.decode_on",
                fix="data.decode_on=cpu",
            )
        log.info("pictures are decoded on the CPU, where faces are augmented")
        return None
    device = options.device if cuda else torch.device("cpu")
    max_pictures = batch_size * (2 if samples.mri else 1)
    dali: MakeDecoder = partial(DaliDecoder, device, options.workers, max_pictures)
    if options.library == "dali":
        return _probed(dali, "data.loader=dali")
    if not cuda:
        return None
    torchvision: MakeDecoder = partial(TorchvisionDecoder, device)
    if options.library == "torch" and options.decode_on == "cuda":
        return _probed(torchvision, "data.decode_on=cuda")
    candidates = [("DALI", dali)] if options.library == "auto" else []
    for name, make in [*candidates, ("torchvision", torchvision)]:
        try:
            _probed(make, name)
        except ConfigError as error:
            log.warning("%s", error)
        else:
            log.info("pictures are decoded by %s on %s", name, device)
            return make
    log.warning("pictures are decoded on the CPU")
    return None


def _probed(make: MakeDecoder, name: str) -> MakeDecoder:
    """`make`, after one of its decoders has decoded a test picture correctly."""
    decoder: BatchDecoder | None = None
    try:
        decoder = make()
        probe(decoder)
    except BatchDecodeError as error:
        fix = "use another data.loader or data.decode_on, or check the driver"
        raise ConfigError(f"{name} does not work on this machine: {error.what}", fix=fix) from error
    finally:
        if decoder is not None:
            decoder.close()
    return make

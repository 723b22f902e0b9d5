"""Which loader it shall be: by what is asked for, what is installed, and what a probe finds to work here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import torch

from mrigan.data.assembly import Request
from mrigan.data.augment import on_planes
from mrigan.data.backends.base import Loader
from mrigan.data.backends.batched import BatchedLoader
from mrigan.data.backends.dali import DaliDecoder
from mrigan.data.backends.decoder import BatchDecoder, DecoderError, probe
from mrigan.data.backends.nvjpeg import TorchvisionDecoder
from mrigan.data.backends.processes import ProcessLoader
from mrigan.data.backends.threads import ThreadLoader
from mrigan.data.samples import Samples
from mrigan.errors import ConfigError

log = logging.getLogger(__name__)
Make = Callable[[], BatchDecoder]


@dataclass(frozen=True)
class Means:
    """How batches are made; what is in them does not depend on it, but for the rounding of the decoders.

    Attributes:
        library: "torch" (OpenCV on a CPU, torchvision on a GPU), "dali"; "auto": on a GPU DALI where it is installed.
        decode_on: "auto": where `device` is.
        device: that trains.
        workers_are: "threads" or "processes".

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
            (self.library, ("torch", "dali", "auto")),
            (self.decode_on, ("cpu", "cuda", "auto")),
            (self.workers_are, ("threads", "processes")),
        ):
            if word not in words:
                raise ValueError(f"{word!r} is none of {', '.join(words)}")


def open_loader(samples: Samples, requests: Iterable[Request], batch_size: int, means: Means) -> Loader:
    """The loader of `requests`, of which none is larger than `batch_size`.

    Raises:
        ConfigError: what was asked for by name is not to be had here.
    """
    make = _decoder(samples, batch_size, means)
    if make is not None:
        device = means.device if _on_cuda(means) else torch.device("cpu")
        return BatchedLoader(samples, requests, make=make, device=device, workers=means.workers)
    if means.workers and means.workers_are == "processes":
        return ProcessLoader(
            samples, requests, batch_size=batch_size, workers=means.workers, pin_memory=means.pin_memory
        )
    return ThreadLoader(samples, requests, workers=means.workers, pin_memory=means.pin_memory)


def _decoder(samples: Samples, batch_size: int, means: Means) -> Make | None:
    """What makes the decoder; None = OpenCV, picture by picture."""
    cuda = _on_cuda(means)
    if cuda and means.device.type != "cuda":
        raise ConfigError("data.decode_on=cuda, and training is on the CPU", fix="data.decode_on=cpu, or a GPU")
    if cuda and samples.augment is not None and on_planes(samples.augment) is None:
        if means.decode_on == "cuda":
            raise ConfigError(
                "this augmentation has no form for pictures on a GPU", where="data.decode_on", fix="data.decode_on=cpu"
            )
        log.info("pictures are decoded on the CPU, where faces are augmented")
        return None
    device = means.device if cuda else torch.device("cpu")
    most = batch_size * (2 if samples.mri else 1)
    dali: Make = partial(DaliDecoder, device, means.workers, most)
    if means.library == "dali":
        return _probed(dali, "data.loader=dali")
    if not cuda:
        return None
    torchvision: Make = partial(TorchvisionDecoder, device)
    if means.library == "torch" and means.decode_on == "cuda":
        return _probed(torchvision, "data.decode_on=cuda")
    tried = [("DALI", dali)] if means.library == "auto" else []
    for name, make in [*tried, ("torchvision", torchvision)]:
        try:
            _probed(make, name)
        except ConfigError as error:
            log.warning("%s", error)
        else:
            log.info("pictures are decoded by %s on %s", name, device)
            return make
    log.warning("pictures are decoded on the CPU")
    return None


def _on_cuda(means: Means) -> bool:
    return means.decode_on == "cuda" or (means.decode_on == "auto" and means.device.type == "cuda")


def _probed(make: Make, name: str) -> Make:
    """`make`, after a decoder of it has decoded a picture as it should be."""
    decoder: BatchDecoder | None = None
    try:
        decoder = make()
        probe(decoder)
    except DecoderError as error:
        fix = "take another data.loader or data.decode_on, or see what is wrong with the driver"
        raise ConfigError(f"{name} does not work here: {error.what}", fix=fix) from error
    finally:
        if decoder is not None:
            decoder.close()
    return make

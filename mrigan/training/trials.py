"""What a dry run needs to know of the two trainings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mrigan.config import DetectorConfig, GanConfig
from mrigan.data import Batch
from mrigan.data.augment import recipe
from mrigan.engine.distributed import World
from mrigan.engine.precision import Precision
from mrigan.files import sha256_file
from mrigan.models import Generator
from mrigan.training.detector import build_detector, build_network, detector_step, open_generator
from mrigan.training.dry_run import Trial, dry_run, in_place
from mrigan.training.finish import face_settings
from mrigan.training.gan import build_engines, build_networks, check_gan, gan_step
from mrigan.training.job import Job, shard_folders


def gan_trial(config: GanConfig) -> Trial[GanConfig]:
    """A dry run of MRI-GAN; `config.data.cache` may be cleared."""
    in_place(config)
    check_gan(config)

    def step(engines: Mapping[str, Any], batch: Batch, precision: Precision, world: World) -> dict[str, torch.Tensor]:
        G, D = engines["generator"], engines["discriminator"]
        return gan_step(G, D, batch, config=config, precision=precision, world=world)

    return Trial(
        "gan",
        "pairs",
        networks=lambda: build_networks(config),
        engines=lambda job: build_engines(config, job.world, job.precision),
        step=step,
        batches=lambda job: job.batches(size=config.model.size),
        averaged=("generator",) if config.model.ema_half_life else (),
    )


def detector_trial(config: DetectorConfig) -> Trial[DetectorConfig]:
    """A dry run of a detector; `config.data.cache` may be cleared."""
    in_place(config)
    generator = open_generator(config)
    faces = face_settings(shard_folders(config.data))

    def step(engines: Mapping[str, Any], batch: Batch, precision: Precision, world: World) -> dict[str, torch.Tensor]:
        G = engines["generator"].module if generator else None
        return detector_step(engines["detector"], G, batch, config=config, precision=precision, world=world)

    def networks() -> dict[str, nn.Module]:
        model = dataclasses.replace(config.model, weights="")
        found: dict[str, nn.Module] = {"detector": build_network(dataclasses.replace(config, model=model))}
        if generator:
            found["generator"] = Generator(generator.size, generator.width, generator.dropout).requires_grad_(False)
        return found

    def engines(job: Job[DetectorConfig]) -> dict[str, Any]:
        found: dict[str, Any] = {"detector": build_detector(config, job.world, job.precision)}
        if generator:
            found["generator"] = _Frozen(generator.to(job.world.device).requires_grad_(False))
        return found

    return Trial(
        "detector",
        "any",
        networks,
        engines,
        step,
        batches=lambda job: job.batches(
            size=faces["size"], augment=recipe(config.data.input) if config.data.augment else None, mri=False
        ),
        depends={"generator": sha256_file(config.model.generator) if generator else ""},
    )


__all__ = ["detector_trial", "dry_run", "gan_trial"]


@dataclasses.dataclass(frozen=True)
class _Frozen:
    """A network without an engine."""

    module: nn.Module

"""What a dry run needs to know of the two trainings."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from mrigan.config import DetectorConfig, GanConfig
from mrigan.files import sha256_file
from mrigan.models.backbone_weights import check_weights_given
from mrigan.training.detector import build_detector, detector_work, face_augmentation, open_generator
from mrigan.training.dry_run import Trial, dry_run, in_place
from mrigan.training.finish import face_settings
from mrigan.training.gan import build_engines, check_gan, gan_work
from mrigan.training.job import Job, shard_folders


def gan_trial(config: GanConfig) -> Trial[GanConfig]:
    """A dry run of MRI-GAN; `config.data.cache` may be cleared."""
    in_place(config)
    check_gan(config)

    work = gan_work(config)
    return Trial(
        "gan",
        "pairs",
        networks=work.networks,
        engines=lambda job: build_engines(config, job.world, job.precision),
        step=work.step,
        batches=lambda job: job.batches(size=config.model.size),
        averaged=("generator",) if config.model.ema_half_life else (),
    )


def detector_trial(config: DetectorConfig) -> Trial[DetectorConfig]:
    """A dry run of a detector; `config.data.cache` may be cleared."""
    in_place(config)
    check_weights_given(config.model.backbone, config.model.weights)
    generator = open_generator(config)
    faces = face_settings(shard_folders(config.data))

    work = detector_work(config, generator, faces["size"])

    def engines(job: Job[DetectorConfig]) -> dict[str, Any]:
        found: dict[str, Any] = {"detector": build_detector(config, job.world, job.precision)}
        if generator:
            found["generator"] = _Frozen(generator.to(job.world.device).requires_grad_(False))
        return found

    return Trial(
        "detector",
        "any",
        work.networks,
        engines,
        work.step,
        batches=lambda job: job.batches(size=faces["size"], augment=face_augmentation(config), mri=False),
        depends={"generator": sha256_file(config.model.generator) if generator else ""},
    )


__all__ = ["detector_trial", "dry_run", "gan_trial"]


@dataclasses.dataclass(frozen=True)
class _Frozen:
    """A network without an engine."""

    module: nn.Module

"""Training of a detector (MRI-GAN, section 5), on faces or on the MRIs that a trained generator predicts from them.

    mrigan train detector configs/detector/face.yaml data.shards=DIR run.dir=DIR model.weights=FILE
    torchrun --nproc-per-node 8 launch/train_detector.py configs/detector/face.yaml data.shards=DIR run.dir=DIR \
        model.weights=FILE

The generator is frozen and in eval mode; its MRIs are predicted on the fly.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mrigan.config import DetectorConfig
from mrigan.data import Augment, Batch
from mrigan.data.augment import random_erasing_, recipe
from mrigan.engine.build import build_engine
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.engine.seeding import seed_all
from mrigan.errors import ConfigError
from mrigan.files import sha256_file
from mrigan.losses import detector_loss
from mrigan.models import Detector, Generator, load_generator, predict_mri
from mrigan.models.backbone_weights import RANDOM, check_weights_given, weights_in_words
from mrigan.models.detector import IMAGENET_MEAN
from mrigan.training.finish import face_settings, finish_detector
from mrigan.training.hooks import Hooks
from mrigan.training.job import open_job, shard_folders
from mrigan.training.run_folder import as_begun
from mrigan.training.throughput import Work
from mrigan.training.validation import Validation

log = logging.getLogger(__name__)


def train_detector(config: DetectorConfig, new: bool = False) -> Path:
    """Train a detector, or go on where `config.run.dir` stopped.

    Args:
        config: see `configs/detector/`; `train.batch_size` is global.
        new: start afresh; an earlier run in the folder is moved to `<dir>.old-N`.

    Returns:
        `run.dir`, with the best detector by its held-out loss in `model/`: see `mrigan.models.bundle`.

    Raises:
        Stopped: a signal came; all is saved.
        MriganError: see `open_job`; `ConfigError` for `data.input=mri` without a generator; `DivergedError` by the
            policy of `config.health`.
    """
    config = as_begun(config, new)
    check_weights_given(config.model.backbone, config.model.weights)
    generator = open_generator(config)
    depends = {"generator": sha256_file(config.model.generator) if generator else ""}
    faces = face_settings(shard_folders(config.data))
    with open_job("detector", config, shard_kind="any", depends=depends, new=new) as job:
        if job.finished:
            log.info("%s is finished", job.folder.path)
            return job.folder.path
        engine = build_detector(config, job.world, job.precision)
        if job.resumed is None:
            log.info("%s", weights_in_words(config.model.backbone, config.model.weights))
        job.resume({"detector": engine})
        G = generator.to(job.world.device).requires_grad_(False) if generator else None
        validation = Validation(job, engine, G, faces)
        augment = face_augmentation(config)
        work = detector_work(config, G, faces["size"])
        with Hooks(job, {"detector": engine}, validation.evaluate, work=work) as hooks:
            for batch in job.batches(size=faces["size"], augment=augment, mri=False):
                losses = detector_step(engine, G, batch, config=config, precision=job.precision, world=job.world)
                hooks.after_step(batch.step + 1, losses)
                hooks.stop_if_asked()
        finish_detector(job, validation)
        return job.folder.path


def detector_step(
    engine: Engine, G: Generator | None, batch: Batch, *, config: DetectorConfig, precision: Precision, world: World
) -> dict[str, torch.Tensor]:
    """One step of the detector, on the faces of `batch` or on what `G` makes of them.

    Returns:
        The loss and the share of right answers, detached scalars on the device, of which the mean over the ranks is
        that of the global batch; and whether the optimizer's step was left out, because its gradient was not finite.
    """
    parts = config.engine.accumulate
    # Each class is averaged over the global batch: a rank, or a part of its share, may hold none of one of them.
    reals, fakes = world.sum(torch.stack([(1 - batch.label).sum(), batch.label.sum()]))
    total, right = torch.zeros_like(reals), torch.zeros_like(reals)
    for i, (face, label, seeds) in enumerate(
        zip(batch.face.chunk(parts), batch.label.chunk(parts), batch.seeds.chunk(parts), strict=True)
    ):
        with engine.reduces(i + 1 == parts):
            with precision.autocast():
                logits = engine(_pictures(face, seeds, G, config))
            loss = detector_loss(
                logits,
                label,
                smoothing=config.loss.smoothing,
                balanced=config.loss.balanced,
                counts=(reals, fakes),
                world_size=world.size,
            )
            engine.backward(loss)
        total += loss.detach()
        right += ((logits.detach() > 0) == (label > 0)).sum()
    engine.step()
    return {"loss": total, "accuracy": right / len(batch), "skipped": precision.update()}


def detector_work(config: DetectorConfig, generator: Generator | None, size: int) -> Work:
    """What a training does, to be measured without being run.

    Args:
        generator: makes the MRIs, where there is one.
        size: px, side of the faces.
    """

    def step(engines: Mapping[str, Any], batch: Batch, precision: Precision, world: World) -> dict[str, torch.Tensor]:
        G = engines["generator"].module if generator else None
        return detector_step(engines["detector"], G, batch, config=config, precision=precision, world=world)

    def networks() -> dict[str, nn.Module]:
        model = dataclasses.replace(config.model, weights=RANDOM)
        found: dict[str, nn.Module] = {"detector": build_network(dataclasses.replace(config, model=model))}
        if generator:
            found["generator"] = Generator(generator.size, generator.width, generator.dropout).requires_grad_(False)
        return found

    return Work(networks, step, size, mri=False)


def face_augmentation(config: DetectorConfig) -> Augment | None:
    """What the loader does to each face."""
    data = config.data
    return recipe(data.input, config.train.seed, data.crop) if data.augment else None


def _pictures(face: torch.Tensor, seeds: torch.Tensor, G: Generator | None, config: DetectorConfig) -> torch.Tensor:
    """What the detector sees: the faces, or the MRIs that G makes of them; (N, 3, H, W) in 0...1."""
    if config.data.input == "face":
        pictures = face.float() / 255
    else:
        assert G is not None
        pictures = predict_mri(G, face)
        if config.data.augment:  # the plain faces were augmented by the loader
            # What the network normalises to 0, mean grey: black would say "real".
            pictures = random_erasing_(pictures, seeds, IMAGENET_MEAN)
    return pictures.contiguous(memory_format=torch.channels_last) if config.engine.channels_last else pictures


def build_network(config: DetectorConfig) -> Detector:
    """A new detector, its head drawn from the seed."""
    model = config.model
    seed_all(config.train.seed, "weights")
    return Detector(
        model.backbone, model.weights, model.size, hidden=model.hidden, dropout=model.dropout, drop_path=model.drop_path
    )


def build_detector(config: DetectorConfig, world: World, precision: Precision | None = None) -> Engine:
    """A new detector, its head drawn from the seed, with its optimizer."""
    precision = precision or Precision(config.train.precision, world.device)
    return build_engine(build_network(config), config.optim, config.engine, world, precision)


def open_generator(config: DetectorConfig) -> Generator | None:
    """The trained generator that `model.generator` names, None where none is named or needed."""
    if config.model.generator:
        return load_generator(config.model.generator)
    if config.data.input == "mri":
        raise ConfigError(
            "data.input=mri needs a trained generator",
            where="model.generator",
            fix="give model.generator=GAN_RUN/model/generator.safetensors",
        )
    return None

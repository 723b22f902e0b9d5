"""Training of MRI-GAN (section 4.5 and 4.6).

    mrigan train gan configs/gan/paper.yaml data.shards=DIR run.dir=DIR
    torchrun --nproc-per-node 8 launch/train_gan.py configs/gan/paper.yaml data.shards=DIR run.dir=DIR

The step is a function of the two networks, of the batch and of the random state that `Job.batches` sets before it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mrigan.config import GanConfig
from mrigan.data import Batch
from mrigan.engine.average import Average
from mrigan.engine.build import build_engine
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.engine.seeding import seed_all
from mrigan.errors import ConfigError
from mrigan.losses import discriminator_loss, generator_loss
from mrigan.models import Discriminator, Generator, load_generator, save_generator
from mrigan.models.layers import Down
from mrigan.training.held_out import HeldOutFaces
from mrigan.training.hooks import Hooks
from mrigan.training.job import Job, open_job
from mrigan.training.run_folder import as_begun
from mrigan.training.throughput import Work

log = logging.getLogger(__name__)

LOSSES = ("generator", "adversarial", "pixel", "perceptual", "discriminator")


def train_gan(config: GanConfig, new: bool = False) -> Path:
    """Train G and D, or go on where `config.run.dir` stopped.

    Args:
        config: see `configs/gan/`; `train.batch_size` is global.
        new: start afresh; an earlier run in the folder is moved to `<dir>.old-N`.

    Returns:
        `run.dir`, with the best G by the mean SSIM of held-out faces, fakes and reals apart, as
        `model/generator.safetensors`.

    Raises:
        Stopped: a signal came; all is saved.
        MriganError: see `open_job`; `DivergedError` by the policy of `config.health`.
    """
    config = as_begun(config, new)
    check_gan(config)
    with open_job("gan", config, shard_kind="pairs", depends={}, new=new) as job:
        if job.finished:
            log.info("%s is finished", job.folder.path)
            return job.folder.path
        engines = build_engines(config, job.world, job.precision)
        G, D = engines["generator"], engines["discriminator"]
        average = build_average(config, G)
        job.resume(engines, average)
        held_out = HeldOutFaces(job, average or G)
        with Hooks(
            job, engines, held_out.evaluate, average, work=gan_work(config), scored_on=held_out.scored_on
        ) as hooks:
            for batch in job.batches(size=config.model.size):
                losses = gan_step(G, D, batch, config=config, precision=job.precision, world=job.world)
                if average:
                    average.update(batch.step + 1)
                hooks.after_step(batch.step + 1, losses)
                hooks.stop_if_asked()
        job.world.on_main(lambda: _keep_best(job, held_out.black))
        return job.folder.path


def gan_step(
    G: Engine, D: Engine, batch: Batch, *, config: GanConfig, precision: Precision, world: World
) -> dict[str, torch.Tensor]:
    """One step of G, then one of D on the same batch (Eq. 9 to 13).

    Returns:
        The parts of both losses, detached scalars on the device: means over this rank's part of the batch; and whether
        an optimizer's step was left out, because its gradient was not finite.
    """
    assert batch.mri is not None
    loss, parts = config.loss, config.engine.accumulate
    layout = config.engine.channels_last
    faces, mris = (to_network(picture, layout).chunk(parts) for picture in (batch.face, batch.mri))
    predictions, losses = [], []

    with D.frozen():  # D is called bare: it is reduced once a step, in its own turn
        for i, (face, mri) in enumerate(zip(faces, mris, strict=True)):
            with G.reduces(i + 1 == parts):
                with precision.autocast():
                    predicted = G(face)
                    logits = D.module(predicted, face)
                g = generator_loss(
                    logits,
                    predicted,
                    mri,
                    adversarial=loss.adversarial,
                    pixel=loss.pixel,
                    per_root=loss.per_root,
                    tau=loss.tau,
                    weight=loss.weight,
                    reduce_mean=world.mean,
                )
                G.backward(g.total / parts)
            predictions.append(predicted.detach())
            losses.append([g.total.detach(), g.adversarial, g.pixel, g.perceptual])
    G.step()

    for i, (face, mri, predicted) in enumerate(zip(faces, mris, predictions, strict=True)):
        with D.reduces(i + 1 == parts):
            with precision.autocast():  # both halves in one forward: InstanceNorm looks at each sample alone
                real, fake = D(torch.cat([mri, predicted]), torch.cat([face, face])).chunk(2)
            d = discriminator_loss(real, fake, loss.adversarial)
            D.backward(d / parts)
        losses[i].append(d.detach())
    D.step()
    means = torch.stack([torch.stack(part) for part in losses]).mean(0)
    return dict(zip(LOSSES, means.unbind(), strict=True)) | {"skipped": precision.update()}


def gan_work(config: GanConfig) -> Work:
    """What a training does, to be measured without being run."""

    def step(engines: Mapping[str, Any], batch: Batch, precision: Precision, world: World) -> dict[str, torch.Tensor]:
        G, D = engines["generator"], engines["discriminator"]
        return gan_step(G, D, batch, config=config, precision=precision, world=world)

    return Work(lambda: build_networks(config), step, config.model.size, mri=True)


def to_network(picture: torch.Tensor, channels_last: bool = False) -> torch.Tensor:
    """(N, 3, H, W) uint8 → float32 in [-1, 1]."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return picture.to(torch.float32, memory_format=layout) / 127.5 - 1


def check_gan(config: GanConfig) -> None:
    """Refuse settings that contradict each other.

    Raises:
        ConfigError: says which, and what to do.
    """
    if config.loss.per_root == "batch" and config.engine.accumulate > 1:
        raise ConfigError(
            "the root of a batch's mean SSIM is not the mean of the parts' roots",
            where="loss.per_root=batch with engine.accumulate",
            fix="loss.per_root=image, or engine.accumulate=1",
        )
    if config.model.ema_half_life and config.engine.name == "zero3":
        raise ConfigError(
            "no rank holds all weights under ZeRO 3, and an average needs them every step",
            where="model.ema_half_life",
            fix="engine.name=zero2, or model.ema_half_life=0",
        )


def build_networks(config: GanConfig) -> dict[str, nn.Module]:
    """New networks, drawn from the seed."""
    model = config.model
    seed_all(config.train.seed, "weights")
    G, D = Generator(model.size, model.width, model.dropout), Discriminator(model.width)
    _freeze_idle_biases(D)
    return {"generator": G, "discriminator": D}


def build_engines(config: GanConfig, world: World, precision: Precision | None = None) -> dict[str, Engine]:
    """New networks, drawn from the seed, with their optimizers."""
    precision = precision or Precision(config.train.precision, world.device)
    return {
        name: build_engine(network, config.optim, config.engine, world, precision)
        for name, network in build_networks(config).items()
    }


def build_average(config: GanConfig, G: Engine) -> Average | None:
    """The moving average of G, where one is wanted."""
    half_life = config.model.ema_half_life
    return Average(G.module, half_life, config.train.batch_size) if half_life else None


def _freeze_idle_biases(D: Discriminator) -> None:
    """Biases in front of an InstanceNorm, which takes them out again: their gradient is rounding noise around zero.

    Adam would scale that noise up to full steps: the output would stay the same, but the weights of two equal runs on
    different numbers of ranks would not.
    """
    for layer in D.modules():
        if isinstance(layer, Down) and isinstance(layer.norm, nn.InstanceNorm2d) and layer.conv.bias is not None:
            layer.conv.bias.requires_grad_(False)


def _keep_best(job: Job[GanConfig], black: float) -> None:
    """The best checkpoint's generator becomes the run's model; `black`: the score that black MRIs would have."""
    best = job.store.load_best()
    score = best.state["score"]
    name = "generator_ema" if job.config.model.ema_half_life else "generator"
    G = load_generator(best.path / f"{name}.safetensors")
    extra = {**job.provenance(), "step": best.step, "ssim": score, "ssim_black": black}
    save_generator(job.folder.model / "generator.safetensors", G, extra)
    job.tracking.log_artifact(job.folder.model, "")
    ssim = "not measured" if score is None else f"{score:.4f}"
    log.info("%s is of step %d, held-out SSIM %s", job.folder.model / "generator.safetensors", best.step, ssim)
    if score is not None and score <= black:
        log.warning(
            "it scores no better than black MRIs do (%.4f): it was trained too little, or on too few faces", black
        )

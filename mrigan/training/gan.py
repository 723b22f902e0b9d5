"""Training of MRI-GAN (section 4.5 and 4.6).

    mrigan train gan configs/gan/paper.yaml data.shards=DIR run.dir=DIR
    torchrun --nproc-per-node 8 launch/train_gan.py configs/gan/paper.yaml data.shards=DIR run.dir=DIR

The step is a function of the two networks, of the batch and of the random state that `Job.batches` sets before it.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from mrigan.config import GanConfig
from mrigan.data import Batch
from mrigan.engine.ddp import DdpEngine
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.engine.seeding import seed_all
from mrigan.losses import discriminator_loss, generator_loss
from mrigan.models import Discriminator, Generator, load_generator, save_generator
from mrigan.models.layers import Down
from mrigan.training.held_out import HeldOutFaces
from mrigan.training.hooks import Hooks
from mrigan.training.job import Job, open_job

log = logging.getLogger(__name__)


def train_gan(config: GanConfig, new: bool = False) -> Path:
    """Train G and D, or go on where `config.run.dir` stopped.

    Args:
        config: see `configs/gan/`; `train.batch_size` is global.
        new: start afresh; an earlier run in the folder is moved to `<dir>.old-N`.

    Returns:
        `run.dir`, with the best G by the mean SSIM of held-out faces as `model/generator.safetensors`.

    Raises:
        Stopped: a signal came; all is saved.
        MriganError: see `open_job`; `DivergedError` when a loss is no longer finite.
    """
    with open_job("gan", config, shard_kind="pairs", depends={}, new=new) as job:
        if job.finished:
            log.info("%s is finished", job.folder.path)
            return job.folder.path
        engines = build_engines(config, job.world)
        job.resume(engines)
        G, D = engines["generator"], engines["discriminator"]
        hooks = Hooks(job, engines, HeldOutFaces(job, G).evaluate)
        for batch in job.batches(size=config.model.size):
            losses = gan_step(G, D, batch, config=config, precision=job.precision, world=job.world)
            hooks.after_step(batch.step + 1, losses)
            hooks.stop_if_asked(batch.step + 1)
        job.world.on_main(lambda: _keep_best(job))
        return job.folder.path


def gan_step(
    G: Engine, D: Engine, batch: Batch, *, config: GanConfig, precision: Precision, world: World
) -> dict[str, torch.Tensor]:
    """One step of G, then one of D on the same batch (Eq. 9 to 13).

    Returns:
        The parts of both losses, detached scalars on the device: means over this rank's part of the batch.
    """
    assert batch.mri is not None
    loss = config.loss
    face, mri = (to_network(picture, config.model.channels_last) for picture in (batch.face, batch.mri))

    with D.frozen():  # D is called bare: it is reduced once a step, in its own turn
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
        G.backward(g.total)
    G.step()

    with precision.autocast():  # both halves in one forward: InstanceNorm looks at each sample alone
        real, fake = D(torch.cat([mri, predicted.detach()]), torch.cat([face, face])).chunk(2)
    d = discriminator_loss(real, fake, loss.adversarial)
    D.backward(d)
    D.step()
    return {
        "generator": g.total.detach(),
        "adversarial": g.adversarial,
        "pixel": g.pixel,
        "perceptual": g.perceptual,
        "discriminator": d.detach(),
    }


def to_network(picture: torch.Tensor, channels_last: bool = False) -> torch.Tensor:
    """(N, 3, H, W) uint8 → float32 in [-1, 1]."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return picture.to(torch.float32, memory_format=layout) / 127.5 - 1


def build_engines(config: GanConfig, world: World) -> dict[str, Engine]:
    """New networks, drawn from the seed, with their optimizers."""
    model = config.model
    seed_all(config.train.seed, "weights")
    G, D = Generator(model.size, model.width, model.dropout), Discriminator(model.width)
    _freeze_idle_biases(D)
    return {
        name: DdpEngine(network, config.optim, world, model.channels_last)
        for name, network in (("generator", G), ("discriminator", D))
    }


def _freeze_idle_biases(D: Discriminator) -> None:
    """Biases in front of an InstanceNorm, which takes them out again: their gradient is rounding noise around zero.

    Adam would scale that noise up to full steps: the output would stay the same, but the weights of two equal runs on
    different numbers of ranks would not.
    """
    for layer in D.modules():
        if isinstance(layer, Down) and isinstance(layer.norm, nn.InstanceNorm2d) and layer.conv.bias is not None:
            layer.conv.bias.requires_grad_(False)


def _keep_best(job: Job[GanConfig]) -> None:
    """The best checkpoint's generator becomes the run's model."""
    best = job.store.load_best()
    score = best.state["score"]
    G = load_generator(best.path / "generator.safetensors")
    extra = {**job.provenance(), "step": best.step, "ssim": score}
    save_generator(job.folder.model / "generator.safetensors", G, extra)
    job.tracking.log_artifact(job.folder.model, "")
    log.info("%s is of step %d, held-out SSIM %s", job.folder.model / "generator.safetensors", best.step, score)

"""Training of MRI-GAN (sections 4.5 and 4.6 of the paper)."""

from __future__ import annotations

import logging
from contextlib import nullcontext

import torch
from torch import nn

from mrigan.config import GanConfig
from mrigan.config.engines import ENGINES
from mrigan.data import Batch
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.engine.seeding import seed_all
from mrigan.errors import ConfigError
from mrigan.losses import discriminator_loss, generator_loss
from mrigan.models import Discriminator, Generator, load_generator, save_generator
from mrigan.models.generator_file import generator_metadata
from mrigan.models.layers import Down
from mrigan.training.held_out import HeldOutFaces
from mrigan.training.job import Job
from mrigan.training.state import TrainState
from mrigan.training.task import Evaluation, Inputs, StepResult, Task

log = logging.getLogger(__name__)

LOSSES = ("generator", "adversarial", "pixel", "perceptual", "discriminator")


class GanTask(Task[GanConfig]):
    """Train G and D on pairs of a face and its MRI.

    The G with the best SSIM on held-out faces (see `HeldOutFaces`) becomes `model/generator.safetensors`.
    """

    name, title, needs_mris = "gan", "MRI-GAN", True
    held_out: HeldOutFaces

    @classmethod
    def check(cls, config: GanConfig) -> None:
        if config.loss.per_root == "batch" and config.engine.accumulate > 1:
            raise ConfigError(
                "the root of the mean SSIM is over the whole batch, and cannot be computed in parts",
                where="loss.per_root=batch with engine.accumulate",
                fix="loss.per_root=image, or engine.accumulate=1",
            )
        if config.model.ema_half_life and ENGINES[config.engine.name].splits_weights:
            raise ConfigError(
                "with ZeRO 3 no rank has all weights, and a moving average needs them at every step",
                where="model.ema_half_life",
                fix="engine.name=zero2, or model.ema_half_life=0",
            )

    @property
    def inputs(self) -> Inputs:
        return Inputs(self.config.model.size, mri=True)

    @property
    def averaged(self) -> tuple[str, float] | None:
        half_life = self.config.model.ema_half_life
        return ("generator", half_life) if half_life else None

    def networks(self, pretrained: bool = True) -> dict[str, nn.Module]:
        return build_networks(self.config)

    def header(self, network: nn.Module, step: int) -> dict[str, str]:
        """Makes the G in a checkpoint a generator file, which `load_generator` reads."""
        return generator_metadata(network, {"step": step}) if isinstance(network, Generator) else {}

    def step(self, state: TrainState, batch: Batch) -> StepResult:
        G, D = state.engines["generator"], state.engines["discriminator"]
        return gan_step(G, D, batch, config=self.config, precision=state.precision, world=state.world)

    def begin(self, job: Job) -> None:
        self.held_out = HeldOutFaces(job)

    @property
    def scored_on(self) -> str:
        return self.held_out.scored_on

    def evaluate(self, job: Job) -> Evaluation:
        return self.held_out.evaluate()

    def finish(self, job: Job) -> None:
        job.run.world.on_main(lambda: _keep_best(job, self.held_out.black))


def gan_step(
    G: Engine, D: Engine, batch: Batch, *, config: GanConfig, precision: Precision, world: World
) -> StepResult:
    """One step of G, then one of D on the same batch (Eq. 9 to 13).

    Returns:
        The terms of both losses: means over this rank's part of the batch.
    """
    assert batch.mri is not None
    loss, parts = config.loss, config.engine.accumulate
    layout = config.engine.channels_last
    faces, mris = (to_network(picture, layout).chunk(parts) for picture in (batch.face, batch.mri))
    predictions, losses = [], []

    with D.frozen():  # without DDP: D is reduced once per step, in its own backward
        for i, (face, mri) in enumerate(zip(faces, mris, strict=True)):
            with nullcontext() if i + 1 == parts else G.no_sync():
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
        with nullcontext() if i + 1 == parts else D.no_sync():
            with precision.autocast():  # both in one forward: InstanceNorm normalizes each sample by itself
                real, fake = D(torch.cat([mri, predicted]), torch.cat([face, face])).chunk(2)
            d = discriminator_loss(real, fake, loss.adversarial)
            D.backward(d / parts)
        losses[i].append(d.detach())
    D.step()
    means = torch.stack([torch.stack(part) for part in losses]).mean(0)
    return StepResult(dict(zip(LOSSES, means.unbind(), strict=True)), precision.update())


def to_network(picture: torch.Tensor, channels_last: bool = False) -> torch.Tensor:
    """(N, 3, H, W) uint8 → float32 in [-1, 1]."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return picture.to(torch.float32, memory_format=layout) / 127.5 - 1


def build_networks(config: GanConfig) -> dict[str, nn.Module]:
    """New networks, initialized from the seed."""
    model = config.model
    seed_all(config.train.seed, "weights")
    G, D = Generator(model.size, model.width, model.dropout), Discriminator(model.width)
    freeze_idle_biases(D)
    return {"generator": G, "discriminator": D}


def freeze_idle_biases(D: Discriminator) -> None:
    """Freeze biases before an InstanceNorm, which removes them: their gradient is only rounding noise.

    Adam would turn the noise into full steps. The output would not change, but the weights of two equal runs on
    different numbers of ranks would differ.
    """
    for layer in D.modules():
        if isinstance(layer, Down) and isinstance(layer.norm, nn.InstanceNorm2d) and layer.conv.bias is not None:
            layer.conv.bias.requires_grad_(False)


def _keep_best(job: Job, black: float) -> None:
    """Write the G of the best checkpoint as the model of the run; `black` is the score of all-black MRIs."""
    best = job.run.store.load_best()
    score = best.state["score"]
    name = "generator_ema" if job.state.averages else "generator"
    G = load_generator(best.path / f"{name}.safetensors")
    model = job.run.folder.model
    path = model / "generator.safetensors"
    save_generator(path, G, {**job.provenance, "step": best.step, "ssim": score, "ssim_black": black})
    job.run.tracking.log_artifact(model, "")
    ssim = "not measured" if score is None else f"{score:.4f}"
    log.info("saved %s: G of step %d, held-out SSIM %s", path, best.step, ssim)
    if score is not None and score <= black:
        log.warning("this G scores no better than all-black MRIs (%.4f): it needs more steps, or more faces", black)

"""Training of a detector that draws the MRI of a face beside its verdict: two heads on one backbone.

    mrigan train map configs/map/self-blend.yaml data.shards=DIR run.dir=DIR

It learns from pairs of a face and its MRI: stored ones, or self-blends, whose MRI is known exactly (`data.self_blend`).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from mrigan.config import DetectorConfig, MapConfig
from mrigan.config.training import MAX_LEVELS
from mrigan.data import Batch
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.engine.seeding import seed_all
from mrigan.errors import ConfigError
from mrigan.losses import adversarial_loss, detector_loss, discriminator_loss, map_loss
from mrigan.models import Discriminator, MapDetector
from mrigan.models.backbone_weights import RANDOM
from mrigan.models.detector import normalization
from mrigan.training.detector import DetectorTask
from mrigan.training.gan import freeze_idle_biases, to_network
from mrigan.training.state import TrainState
from mrigan.training.task import Inputs, StepResult

MULTIPLE = 16  # px: the discriminator halves its pictures four times


class MapTask(DetectorTask):
    """Train a `MapDetector`. The one with the lowest held-out class loss goes to `model/`.

    Raises:
        ConfigError: see `check`.
    """

    name, title, needs_mris = "map", "map detector", True

    @classmethod
    def check(cls, config: DetectorConfig) -> None:
        super().check(config)
        assert isinstance(config, MapConfig)
        if config.data.input != "face" or config.model.generator:
            raise ConfigError(
                "a map detector draws MRIs itself, from faces",
                where="data.input" if config.data.input != "face" else "model.generator",
                fix="data.input=face and no model.generator; or train the task detector",
            )
        if not 1 <= len(config.model.decoder) <= MAX_LEVELS:
            raise ConfigError(
                f"the decoder has {len(config.model.decoder)} levels",
                where="model.decoder",
                fix=f"1 to {MAX_LEVELS} numbers, such as [96,64,48,32]",
            )
        if config.loss.adversarial != "none" and config.model.size % MULTIPLE:
            raise ConfigError(
                f"the discriminator needs a multiple of {MULTIPLE} px",
                where=f"model.size={config.model.size}",
                fix=f"model.size={round(config.model.size / MULTIPLE) * MULTIPLE}, or loss.adversarial=none",
            )

    @property
    def inputs(self) -> Inputs:
        """Faces with their MRIs, which are mirrored together and not augmented otherwise: self-blends already are."""
        return Inputs(self.faces["size"], mri=True)

    def networks(self, pretrained: bool = True) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {"detector": build_map_detector(self.config, pretrained)}
        if self.config.loss.adversarial != "none":
            found["discriminator"] = D = Discriminator()
            freeze_idle_biases(D)
        return found

    def step(self, state: TrainState, batch: Batch) -> StepResult:
        detector, D = state.engines["detector"], state.engines.get("discriminator")
        return map_step(detector, D, batch, config=self.config, precision=state.precision, world=state.world)


def map_step(
    detector: Engine, D: Engine | None, batch: Batch, *, config: MapConfig, precision: Precision, world: World
) -> StepResult:
    """One step of the detector, then one of the discriminator if there is one.

    Returns:
        `class`, `map_l1` and `map_bce`, and with a discriminator `adversarial` and `discriminator`, unweighted; `loss`,
        what the detector minimizes; `accuracy`, the fraction of correct answers.
    """
    assert batch.mri is not None
    loss, parts, size = config.loss, config.engine.accumulate, config.model.size
    # The mean of each class is over the global batch: a rank, or a part of its share, may have no sample of a class.
    reals, fakes = world.sum(torch.stack([(1 - batch.label).sum(), batch.label.sum()]))
    sums: dict[str, Any] = {}
    drawn = []
    for i, (face, mri, label) in enumerate(
        zip(batch.face.chunk(parts), batch.mri.chunk(parts), batch.label.chunk(parts), strict=True)
    ):
        with nullcontext() if i + 1 == parts else detector.no_sync():
            pictures = face.float() / 255
            if config.engine.channels_last:
                pictures = pictures.contiguous(memory_format=torch.channels_last)
            with precision.autocast():
                logits, predicted = detector(pictures)
            classes = detector_loss(
                logits,
                label,
                smoothing=loss.smoothing,
                balanced=loss.balanced,
                counts=(reals, fakes),
                world_size=world.size,
            )
            l1, bce = (term / parts for term in map_loss(predicted, mri.float() / 255))
            total = classes + loss.map_l1 * l1 + loss.map_bce * bce
            terms = {"class": classes, "map_l1": l1, "map_bce": bce}
            if D is not None:
                sample = F.interpolate(predicted.float(), (size, size), mode="bilinear").sigmoid() * 2 - 1
                judged = [_at(size, to_network(picture, config.engine.channels_last)) for picture in (mri, face)]
                drawn.append((judged, sample.detach()))
                with D.frozen(), precision.autocast():  # without DDP: D is reduced once, in its own backward
                    patches = D.module(sample, judged[1])
                terms["adversarial"] = adversarial_loss(patches, 1.0, loss.adversarial) / parts
                total = total + loss.adversarial_weight * terms["adversarial"]
            detector.backward(total)
        terms |= {"loss": total, "right": ((logits.detach() > 0) == (label > 0)).sum()}
        sums = {name: sums.get(name, 0) + term.detach() for name, term in terms.items()}
    detector.step()
    if D is not None:
        sums["discriminator"] = _discriminator_step(D, drawn, loss.adversarial, precision)
    return StepResult(sums, precision.update(), {"accuracy": sums.pop("right") / len(batch)})


def _discriminator_step(D: Engine, drawn: list[Any], kind: str, precision: Precision) -> torch.Tensor:
    total: Any = 0
    for i, ((mri, face), sample) in enumerate(drawn):
        with nullcontext() if i + 1 == len(drawn) else D.no_sync():
            with precision.autocast():
                real, fake = D(torch.cat([mri, sample]), torch.cat([face, face])).chunk(2)
            part = discriminator_loss(real, fake, kind) / len(drawn)
            D.backward(part)
        total = total + part.detach()
    D.step()
    return total


def _at(size: int, pictures: torch.Tensor) -> torch.Tensor:
    if pictures.shape[-1] == size:
        return pictures
    return F.interpolate(pictures, (size, size), mode="bilinear", antialias=True, align_corners=False)


def build_map_detector(config: MapConfig, pretrained: bool = True) -> MapDetector:
    """A new network with both heads from the seed; without `pretrained` the backbone is from the seed, too."""
    model = config.model
    seed_all(config.train.seed, "weights")
    mean, std = normalization(model.normalize, model.backbone)
    return MapDetector(
        model.backbone,
        model.weights if pretrained else RANDOM,
        model.size,
        decoder=model.decoder,
        hidden=model.hidden,
        dropout=model.dropout,
        drop_path=model.drop_path,
        mean=mean,
        std=std,
    )

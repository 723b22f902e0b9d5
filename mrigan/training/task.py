"""What a kind of training is: the networks, one step, a score of held-out faces, and what is made of it in the end.

The loop (`mrigan.training.train`), the dry run, the counting of FLOPs, the doctor and the command line know a task by
this class alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import nn

from mrigan.data import Batch
from mrigan.finding import Finding
from mrigan.imaging.face_augmentation import Augment

if TYPE_CHECKING:
    from mrigan.training.job import Job
    from mrigan.training.state import TrainState

C = TypeVar("C")


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step gives: detached scalars on the device, of this rank's part of the batch.

    The names are the same in every step; the mean over the ranks is that of the global batch.

    Attributes:
        losses: logged, and watched: see `health.on_nan` and `health.on_spike`.
        skipped: 1 where an optimizer left its step out because its gradient was not finite, else 0.
        metrics: logged only.
    """

    losses: Mapping[str, torch.Tensor]
    skipped: torch.Tensor
    metrics: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Held-out figures of one step; `score` chooses the best checkpoint, higher is better, None = not known here."""

    metrics: Mapping[str, float | None] = field(default_factory=dict)
    score: float | None = None


@dataclass(frozen=True)
class Inputs:
    """How the loader makes a batch.

    Attributes:
        size: px, side of the faces.
        mri: whether a batch holds MRIs.
        augment: what is done to each face; None = only `data.flip`, for faces and MRIs alike.
    """

    size: int
    mri: bool
    augment: Augment | None = None


class Task(ABC, Generic[C]):
    """One kind of training, with the settings of one run. Its class is named in `mrigan.training.tasks`.

    Args:
        config: with the sections that all trainings have: `run`, `data`, `optim`, `train`, `checkpoint`, `eval`,
            `tracking`, `engine`, `health`.

    Attributes:
        name: in run.json and in checkpoints; the name in `TASKS`.
        title: in the progress bar.
        shard_kind: "pairs" where every sample must have an MRI, else "any".

    Raises:
        ConfigError: see `check`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    shard_kind: ClassVar[str] = "any"

    def __init__(self, config: C) -> None:
        self.check(config)
        self.config: Any = config  # its sections are the task's own

    @classmethod
    def check(cls, config: C) -> None:
        """Refuse settings that contradict each other, before any file is read or written.

        Raises:
            ConfigError: says which, and what to do.
        """

    @classmethod
    def findings(cls, config: C) -> Iterator[Finding]:
        """What `mrigan doctor` says of the settings, besides what it says of every training."""
        yield from ()

    @property
    def depends(self) -> dict[str, Any]:
        """What the weights depend on besides the config and the data, such as the hash of a file; a run is continued
        only where it is the same."""
        return {}

    @property
    @abstractmethod
    def inputs(self) -> Inputs:
        """How batches are made."""

    @abstractmethod
    def networks(self, pretrained: bool = True) -> dict[str, nn.Module]:
        """New networks by the names that checkpoints have for them, drawn from `train.seed`.

        Those with parameters that require a gradient get an engine each; the others are only used.

        Args:
            pretrained: False = of the same shapes, with any weights, and no file is read: to be counted.
        """

    @property
    def averaged(self) -> tuple[str, float] | None:
        """The network of which a moving average is kept, and the average's half-life in images; None = of none."""
        return None

    def header(self, network: nn.Module, step: int) -> dict[str, str]:
        """The metadata of a network's file in a checkpoint."""
        return {}

    @abstractmethod
    def step(self, state: TrainState, batch: Batch) -> StepResult:
        """One optimizer step of every engine. The random state is set before it, by seed, step and rank."""

    def begin(self, job: Job) -> None:
        """The state is there, its first step is not done: open what evaluations need. Every rank calls it."""

    @property
    def scored_on(self) -> str:
        """Which held-out faces a score is of; scores of others are not compared with it."""
        return ""

    @abstractmethod
    def evaluate(self, job: Job) -> Evaluation:
        """Held-out figures of the state. Every rank calls it."""

    @abstractmethod
    def finish(self, job: Job) -> None:
        """All steps are done: make `run.dir/model` of the best checkpoint. Every rank calls it."""

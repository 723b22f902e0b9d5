"""A running training, as callbacks and tasks see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mrigan.config import to_dict
from mrigan.tracking import code_version
from mrigan.training.data import TrainingData
from mrigan.training.run import OpenRun
from mrigan.training.state import TrainState
from mrigan.training.task import Task


@dataclass(frozen=True)
class Job:
    """A running training.

    Attributes:
        task: what is trained. data: the shards and the epoch plan.
        run: the folder, the ranks, the watchdog, the log. state: networks, optimizers, the step.
    """

    task: Task[Any]
    data: TrainingData
    run: OpenRun
    state: TrainState

    @property
    def config(self) -> Any:
        """The config of the task."""
        return self.task.config

    @property
    def provenance(self) -> dict[str, Any]:
        """The origin of a model, stored with it."""
        train = self.data.train
        return {"config": to_dict(self.config), "code_version": code_version(), "data_hash": train.hash,
                "shard_hashes": train.folder_hashes, **self.run.depends,
                "mlflow_run_id": self.run.tracking.id}  # fmt: skip

    def line_is_due(self) -> bool:
        """Whether a line of the log is due after the current step."""
        return self.state.step % self.config.tracking.log_every == 0 or self.state.step == self.data.steps

"""A training under way, as callbacks and tasks see it."""

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
    """What is trained, on what, where it is written, and how far it is."""

    task: Task[Any]
    data: TrainingData
    run: OpenRun
    state: TrainState

    @property
    def config(self) -> Any:
        """The task's settings."""
        return self.task.config

    @property
    def provenance(self) -> dict[str, Any]:
        """What a model must say about where it comes from."""
        train = self.data.train
        return {"config": to_dict(self.config), "code_version": code_version(), "data_hash": train.hash,
                "shard_hashes": train.folder_hashes, **self.run.depends,
                "mlflow_run_id": self.run.tracking.id}  # fmt: skip

    def line_is_due(self) -> bool:
        """Whether a line of the log is due after the step that is done."""
        return self.state.step % self.config.tracking.log_every == 0 or self.state.step == self.data.steps

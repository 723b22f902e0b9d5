"""The state that training steps change and checkpoints store: weights, optimizers, and the place in the plan."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mrigan.engine.average import Average
from mrigan.engine.build import build_engine
from mrigan.engine.checkpoint import Checkpoint
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.engine.tensor_file import TensorFile
from mrigan.training.resume_check import restored
from mrigan.training.task import Task

log = logging.getLogger(__name__)


@dataclass
class TrainState:
    """The networks under training with their optimizers, and the progress.

    Attributes:
        engines: by the names of their networks.
        frozen: networks that are used, but not trained.
        averages: of engines' networks, by name.
        step: completed optimizer steps.
        left_out: batches of the plan that were skipped when the run returned to a checkpoint.
        roll_backs: the number of returns to a checkpoint.
    """

    world: World
    precision: Precision
    engines: dict[str, Engine]
    frozen: dict[str, nn.Module] = field(default_factory=dict)
    averages: dict[str, Average] = field(default_factory=dict)
    step: int = 0
    left_out: int = 0
    roll_backs: int = 0

    @classmethod
    def build(cls, task: Task[Any], world: World) -> TrainState:
        """New networks of a task, initialized from the seed, on the rank's device."""
        config = task.config
        state = cls(world, Precision(config.train.precision, world.device), {})
        for name, network in task.networks().items():
            if any(p.requires_grad for p in network.parameters()):
                state.engines[name] = build_engine(network, config.optim, config.engine, world, state.precision)
            else:
                state.frozen[name] = network.to(world.device)
        if task.averaged is not None:
            name, half_life = task.averaged
            state.averages[name] = Average(state.engines[name].module, half_life, config.train.batch_size)
        return state

    @property
    def place(self) -> int:
        """The number of batches of the plan before this state."""
        return self.step + self.left_out

    def set_learning_rate(self, task: Task[Any]) -> None:
        """Set the learning rate of the next step."""
        for name, engine in self.engines.items():
            engine.set_learning_rate(task.learning_rate(name, self.step))

    def stepped(self, step: int) -> None:
        """Note that `step` optimizer steps are completed, and update the averages."""
        self.step = step
        for average in self.averages.values():
            average.update(step)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON."""
        return {"left_out": self.left_out, "roll_backs": self.roll_backs, "precision": self.precision.state_dict()}

    def tensors(self, task: Task[Any]) -> dict[str, TensorFile]:
        """File name → weights or optimizer state: complete, and not copies. Every rank must call it."""
        files: dict[str, TensorFile] = {}
        for name, engine in self.engines.items():
            weights, optimizer = engine.state_dict()
            files[name] = TensorFile(weights, task.header(engine.module, self.step))
            files[f"{name}_optimizer"] = TensorFile(optimizer)
        for name, average in self.averages.items():
            files[f"{name}_ema"] = TensorFile(average.state_dict(), task.header(average.module, self.step))
        return files

    def load_state_dict(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint, on any number of ranks. Every rank must call it.

        Raises:
            CheckpointError: its tensors do not belong to these networks.
        """
        self.left_out, self.roll_backs = checkpoint.state["left_out"], checkpoint.state["roll_backs"]
        self.load_weights(checkpoint)

    def load_weights(self, checkpoint: Checkpoint) -> None:
        """As `load_state_dict`, but the place in the plan does not change."""
        self.step = checkpoint.step
        for name, engine in self.engines.items():
            engine.load_state_dict(checkpoint.tensors(name), checkpoint.tensors(f"{name}_optimizer"))
        for name, average in self.averages.items():
            average.load_state_dict(checkpoint.tensors(f"{name}_ema"))
        restored("precision", checkpoint, self.precision.load_state_dict, checkpoint.state["precision"])
        log.info("continuing from %s", checkpoint.path)

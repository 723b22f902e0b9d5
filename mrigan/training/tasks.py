"""The kinds of training, by name. Your own program adds one with `TASKS["mine"] = TaskEntry(...)`.

This module does not import torch: the command line is parsed, and signal handlers are installed, before that.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mrigan.config import DetectorConfig, GanConfig, MapConfig
from mrigan.errors import ConfigError

if TYPE_CHECKING:
    from mrigan.training.task import Task


@dataclass(frozen=True)
class TaskEntry:
    """A kind of training whose code is not imported yet.

    Attributes:
        config_class: the dataclass of its config.
        place: "module:class" of its `Task`.
        about: what it trains, for `--help`.
        registers: whether its model can be added to the model registry; then `mrigan train` has `--register` for it.
    """

    config_class: type[Any]
    place: str
    about: str
    registers: bool = False

    def task_class(self) -> type[Task[Any]]:
        """The class of `place`; the first call imports its module, and torch."""
        module, _, name = self.place.partition(":")
        return getattr(import_module(module), name)


TASKS = {
    "gan": TaskEntry(GanConfig, "mrigan.training.gan:GanTask", "MRI-GAN"),
    "detector": TaskEntry(
        DetectorConfig, "mrigan.training.detector:DetectorTask", "a detector on faces or on predicted MRIs", True
    ),
    "map": TaskEntry(
        MapConfig, "mrigan.training.map:MapTask", "a detector that draws the MRI beside its verdict", True
    ),
}


def find_task(name: str) -> TaskEntry:
    """The kind of training with this name.

    Raises:
        ConfigError: there is no such task.
    """
    if name not in TASKS:
        raise ConfigError(f"there is no task {name!r}", fix=f"one of: {', '.join(TASKS)}")
    return TASKS[name]

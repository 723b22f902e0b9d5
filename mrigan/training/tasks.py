"""The kinds of training, by name. A program of one's own adds another: `TASKS["mine"] = TaskEntry(...)`.

Without torch: a command line is read, and signals are heard, before that import.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mrigan.config import DetectorConfig, GanConfig
from mrigan.errors import ConfigError

if TYPE_CHECKING:
    from mrigan.training.task import Task


@dataclass(frozen=True)
class TaskEntry:
    """A kind of training, before its code is imported.

    Attributes:
        config_class: the root of its settings.
        place: "module:class" of its `Task`.
        about: what it trains, for `--help`.
        registers: whether its model goes to the model registry: `mrigan train` has `--register` for it then.
    """

    config_class: type[Any]
    place: str
    about: str
    registers: bool = False

    def task_class(self) -> type[Task[Any]]:
        """The class that `place` names; the first call imports its module, and torch."""
        module, _, name = self.place.partition(":")
        return getattr(import_module(module), name)


TASKS = {
    "gan": TaskEntry(GanConfig, "mrigan.training.gan:GanTask", "MRI-GAN"),
    "detector": TaskEntry(
        DetectorConfig, "mrigan.training.detector:DetectorTask", "a detector on faces or on predicted MRIs", True
    ),
}


def find_task(name: str) -> TaskEntry:
    """The kind of training of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in TASKS:
        raise ConfigError(f"there is no task {name!r}", fix=f"one of: {', '.join(TASKS)}")
    return TASKS[name]

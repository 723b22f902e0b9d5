"""The engines that `engine.name` selects: what each one needs and can do. Without torch: the doctor reads it, too.

A program outside the package adds its own before it loads a config: `ENGINES["mine"] = EngineEntry("package:Class")`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class EngineEntry:
    """An engine, before its code is imported.

    Attributes:
        place: "module:class" of its class, see `mrigan.engine.base.NetworkEngine`.
        extra: the extra of Mrigan's package that it needs, as in `pip install 'mrigan[deepspeed]'`; "" = none.
        needs_group: it needs a process group, even for a single process.
        several_ranks: it can train on more than one rank.
        reads_config: it reads the file `engine.config`.
        splits_optimizer, splits_gradients, splits_weights: each rank holds a part of these instead of all.
    """

    place: str
    extra: str = ""
    needs_group: bool = False
    several_ranks: bool = True
    reads_config: bool = False
    splits_optimizer: bool = False
    splits_gradients: bool = False
    splits_weights: bool = False

    def engine_class(self) -> Any:
        """The class that `place` names; the first call imports its module, and torch."""
        module, _, name = self.place.partition(":")
        return getattr(import_module(module), name)


def zero_entry(stage: int) -> EngineEntry:
    """DeepSpeed's ZeRO, stage 0 to 3."""
    return EngineEntry(
        "mrigan.engine.zero:ZeroEngine",
        extra="deepspeed",
        needs_group=True,
        reads_config=True,
        splits_optimizer=stage >= 1,
        splits_gradients=stage >= 2,
        splits_weights=stage >= 3,
    )


ENGINES = {
    "ddp": EngineEntry("mrigan.engine.ddp:DdpEngine"),
    "single": EngineEntry("mrigan.engine.single:SingleEngine", several_ranks=False),
    **{f"zero{stage}": zero_entry(stage) for stage in range(4)},
}

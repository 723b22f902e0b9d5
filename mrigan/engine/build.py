"""Build the engine that `engine.name` selects."""

from __future__ import annotations

from torch import nn

from mrigan.config import EngineConfig, OptimConfig
from mrigan.config.engines import ENGINES
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.errors import ConfigError


def build_engine(
    network: nn.Module, optim: OptimConfig, settings: EngineConfig, world: World, precision: Precision
) -> Engine:
    """The engine for `network`; see `mrigan.engine.base.NetworkEngine` for the arguments.

    Raises:
        ConfigError: see `check_engine`.
    """
    check_engine(settings, world)
    engine: Engine = ENGINES[settings.name].engine_class()(network, optim, settings, world, precision)
    return engine


def check_engine(settings: EngineConfig, world: World) -> None:
    """Refuse an engine that cannot be built, before any file is written.

    Raises:
        ConfigError: it cannot train on several ranks, does not read `engine.config`, or refuses the settings itself.
    """
    entry = ENGINES[settings.name]
    if settings.config and not entry.reads_config:
        readers = ", ".join(name for name, other in ENGINES.items() if other.reads_config)
        raise ConfigError(
            f"engine.name={settings.name} does not read engine.config",
            where=settings.config,
            fix=f"engine.config= (empty), or an engine that reads it: {readers}",
        )
    if world.size > 1 and not entry.several_ranks:
        raise ConfigError(
            f"engine.name={settings.name} is for one process, but there are {world.size} ranks",
            fix="engine.name=ddp, or start one process",
        )
    entry.engine_class().check(settings, world)

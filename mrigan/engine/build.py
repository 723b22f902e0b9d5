"""One word in the config chooses the engine."""

from __future__ import annotations

from torch import nn

from mrigan.config import EngineConfig, OptimConfig
from mrigan.engine.ddp import DdpEngine
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.engine.zero import ZeroEngine, deepspeed_settings
from mrigan.errors import ConfigError


def build_engine(
    network: nn.Module, optim: OptimConfig, settings: EngineConfig, world: World, precision: Precision
) -> Engine:
    """The engine that `settings.name` asks for, around `network`.

    Raises:
        ConfigError: `single` on several ranks; DeepSpeed is not installed or its settings are wrong.
    """
    how = {"channels_last": settings.channels_last, "compile": settings.compile}
    if settings.name.startswith("zero"):
        own = deepspeed_settings(settings.name, settings.config)
        return ZeroEngine(network, optim, world, own, precision, **how)
    if settings.config:
        raise ConfigError(
            f"engine.config is for DeepSpeed, and engine.name={settings.name}",
            where=settings.config,
            fix="engine.name=zero0, zero1, zero2 or zero3",
        )
    if settings.name == "single" and world.size > 1:
        raise ConfigError(
            f"engine.name=single, and there are {world.size} ranks", fix="engine.name=ddp, or start one process"
        )
    return DdpEngine(network, optim, world, precision, accumulates=settings.accumulate > 1, **how)

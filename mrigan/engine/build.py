"""One word in the config chooses the engine."""

from __future__ import annotations

from torch import nn

from mrigan.config import EngineConfig, OptimConfig
from mrigan.engine.ddp import DdpEngine
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
from mrigan.engine.kinds import ENGINES
from mrigan.engine.precision import Precision
from mrigan.engine.zero import ZeroEngine, deepspeed_settings, import_deepspeed
from mrigan.errors import ConfigError


def build_engine(
    network: nn.Module, optim: OptimConfig, settings: EngineConfig, world: World, precision: Precision
) -> Engine:
    """The engine that `settings.name` asks for, around `network`.

    Raises:
        ConfigError: see `check_engine`.
    """
    check_engine(settings, world)
    how = {"channels_last": settings.channels_last, "compile": settings.compile}
    if ENGINES[settings.name].extra == "deepspeed":
        own = deepspeed_settings(settings.name, settings.config)
        return ZeroEngine(network, optim, world, own, precision, **how)
    accumulates = settings.accumulate > 1
    return DdpEngine(network, optim, world, precision, accumulates=accumulates, bucket_mib=settings.bucket_mib, **how)


def check_engine(settings: EngineConfig, world: World) -> None:
    """Refuse what cannot be built, before anything is written.

    Raises:
        ConfigError: `single` on several ranks; DeepSpeed is not installed or its settings are wrong.
    """
    kind = ENGINES[settings.name]
    if kind.extra == "deepspeed":
        import_deepspeed(world)
        deepspeed_settings(settings.name, settings.config)
    elif settings.config:
        raise ConfigError(
            f"engine.config is for DeepSpeed, and engine.name={settings.name}",
            where=settings.config,
            fix="engine.name=zero0, zero1, zero2 or zero3",
        )
    if not kind.several_ranks and world.size > 1:
        raise ConfigError(
            f"engine.name={settings.name}, and there are {world.size} ranks",
            fix="engine.name=ddp, or start one process",
        )

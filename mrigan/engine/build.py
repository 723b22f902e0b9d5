"""One word in the config chooses the engine."""

from __future__ import annotations

from typing import Any

from torch import nn

from mrigan.config import EngineConfig, OptimConfig
from mrigan.engine.ddp import DdpEngine
from mrigan.engine.distributed import World
from mrigan.engine.interface import Engine
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
    own = check_engine(settings, world)
    how = {"channels_last": settings.channels_last, "compile": settings.compile}
    if own is not None:
        return ZeroEngine(network, optim, world, own, precision, **how)
    accumulates = settings.accumulate > 1
    return DdpEngine(network, optim, world, precision, accumulates=accumulates, bucket_mib=settings.bucket_mib, **how)


def check_engine(settings: EngineConfig, world: World) -> dict[str, Any] | None:
    """Refuse what cannot be built, before anything is written.

    Returns:
        DeepSpeed's settings, where it is asked for.

    Raises:
        ConfigError: `single` on several ranks; DeepSpeed is not installed or its settings are wrong.
    """
    if settings.name.startswith("zero"):
        import_deepspeed(world)
        return deepspeed_settings(settings.name, settings.config)
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
    return None

"""`mrigan doctor`: is all here that a training needs? Each check yields findings; none writes what stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mrigan.config import DetectorConfig, GanConfig
from mrigan.doctor.finding import Finding, Level
from mrigan.doctor.machine import check_gpus, check_limits
from mrigan.doctor.ranks import check_ranks
from mrigan.doctor.software import check_optional, check_versions, check_weights
from mrigan.doctor.storage import check_folder, check_separation, check_shards
from mrigan.doctor.store import check_tracking

__all__ = ["Finding", "Level", "examine"]


def examine(
    config: GanConfig | DetectorConfig | None = None,
    *,
    folder: Path = Path(),
    shards: Sequence[str] = (),
) -> Iterator[Finding]:
    """Every check, the quick ones first.

    Args:
        config: what would be trained: its run folder, shards, MLflow, GPUs and extras are checked.
        folder: where a run would be written, without a config.
        shards: more shard folders.
    """
    yield from check_versions()
    needed: set[str] = set()
    if config is not None:
        folder, shards = Path(config.run.dir), [*config.data.shards, *shards]
        needed |= {"deepspeed"} if config.engine.name.startswith("zero") else set()
        needed |= {"dali"} if config.data.loader == "dali" else set()
    yield from check_optional(frozenset(needed))
    if isinstance(config, DetectorConfig):
        yield from check_weights(config.model)
    yield from check_limits()
    yield from check_gpus(config is not None and config.train.device == "cuda")
    yield from check_ranks()
    yield from check_folder(folder)
    if config is not None and config.data.cache:
        yield from check_folder(Path(config.data.cache))
    for each in shards:
        if config is None:
            yield from check_shards(each, ("train", "val"))
        else:
            kind = "pairs" if isinstance(config, GanConfig) else "any"
            yield from check_shards(each, (config.data.train_split, config.data.val_split), kind)
    yield from check_separation(shards)
    if config is None or config.tracking.enabled:
        yield from check_tracking(config.tracking.uri if config is not None else "")

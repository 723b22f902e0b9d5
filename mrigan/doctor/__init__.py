"""`mrigan doctor`: whether this machine has all that a training needs. Checks yield findings, and leave no files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mrigan.config.engines import ENGINES
from mrigan.doctor.machine import check_gpus, check_limits
from mrigan.doctor.ranks import check_ranks
from mrigan.doctor.software import check_optional, check_versions
from mrigan.doctor.storage import check_folder, check_separation, check_shards
from mrigan.doctor.store import check_tracking
from mrigan.finding import Finding, Level
from mrigan.training.tasks import find_task

__all__ = ["Finding", "Level", "examine"]


def examine(
    task: str = "",
    config: Any = None,
    *,
    folder: Path = Path(),
    shards: Sequence[str] = (),
) -> Iterator[Finding]:
    """Run all checks, the quick ones first.

    Args:
        task, config: a training whose run folder, shards, MLflow store, GPUs and extras are checked.
        folder: the run folder, if there is no config.
        shards: more shard folders.
    """
    yield from check_versions()
    needed: set[str] = set()
    if config is not None:
        folder, shards = Path(config.run.dir), [*config.data.shards, *shards]
        needed |= {ENGINES[config.engine.name].extra} - {""}
        needed |= {"dali"} if config.data.loader == "dali" else set()
    yield from check_optional(frozenset(needed))
    task_class = find_task(task).task_class() if config is not None else None
    if task_class is not None:
        yield from task_class.findings(config)
    yield from check_limits()
    yield from check_gpus(config is not None and config.train.device == "cuda")
    yield from check_ranks()
    yield from check_folder(folder)
    if config is not None and config.data.cache:
        yield from check_folder(Path(config.data.cache))
    for each in shards:
        if task_class is None:
            yield from check_shards(each, ("train", "val"))
        else:
            yield from check_shards(each, ("train", config.data.val_split), task_class.shard_kind(config))
    yield from check_separation(shards)
    if config is None or config.tracking.enabled:
        yield from check_tracking(config.tracking.uri if config is not None else "")

"""The data of a training: the training and held-out shards, the epoch plan, and the batches."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from mrigan.config import DataConfig
from mrigan.data import (
    Batch,
    BlendedShards,
    EpochPlan,
    Loader,
    LoaderOptions,
    PairedPlan,
    Samples,
    SelfBlends,
    ShardSet,
    check_separate,
    local_folders,
    make_loader,
)
from mrigan.engine.build import check_engine
from mrigan.engine.distributed import World
from mrigan.engine.optimizer import check_schedule
from mrigan.engine.seeding import seed_all
from mrigan.errors import ConfigError, ShardError
from mrigan.health import Watchdog
from mrigan.progress import Advance, bar
from mrigan.training.pairs import paired
from mrigan.training.state import TrainState
from mrigan.training.task import Task

log = logging.getLogger(__name__)

TRAIN_SPLIT = "train"


@dataclasses.dataclass
class TrainingData:
    """The samples that a run trains on, and those that it is scored on.

    Attributes:
        steps: the number of optimizer steps of the run.
        waited: seconds that this rank has waited for batches.
        asked: time of the request for the newest batch (`time.perf_counter`).
    """

    task: Task[Any]
    world: World
    train: ShardSet
    val: ShardSet
    plan: EpochPlan
    steps: int
    waited: float = 0.0
    asked: float = 0.0

    @classmethod
    def open(cls, task: Task[Any], world: World) -> TrainingData:
        """Open the shards (shards at a URL are staged first), and check that they can be trained on.

        Raises:
            ConfigError, ShardError: nothing has been written.
        """
        config = task.config
        train, data = config.train, config.data
        check_engine(config.engine, world)
        check_schedule(config.optim)
        if not train.steps and not train.epochs:
            raise ConfigError("the length of the training is not set", fix="give train.steps=… or train.epochs=…")
        parts = world.size * config.engine.accumulate
        if train.batch_size % parts:
            ranks = f"{world.size} of them" + (
                f", each in {config.engine.accumulate} parts" if parts > world.size else ""
            )
            raise ConfigError(
                f"train.batch_size={train.batch_size} is the batch of all ranks; it is not divisible by {ranks}",
                fix=f"use a multiple of {parts}",
            )
        if not data.shards:
            raise ConfigError(
                "data.shards is empty", fix="give data.shards=DIR, a folder made by `mrigan shards build DIR`"
            )
        folders = shard_folders(data)
        streamed = data.loader == "webdataset"
        shards = ShardSet.open(folders, TRAIN_SPLIT, task.shard_kind(config), data.shards if streamed else ())
        held_out = ShardSet.open(folders, data.val_split, task.shard_kind(config))
        check_separate(folders)
        shards.verify = held_out.verify = data.verify
        if streamed:
            _check_streamed(data, world)
        blends = data.self_blend
        if blends.share:
            shards, held_out = paired(config, shards, held_out, folders, parts)
        drawn = train.batch_size // (2 if blends.share else 1)
        window = shards.window(data.window, drawn) if data.shuffle == "window" else None
        if window is not None and window.lanes % world.size:
            log.warning(
                "data.window=%d: each shard is read by several of the %d ranks; with a multiple of %d, by one",
                data.window, world.size, 2 * world.size)  # fmt: skip
        balance = data.balance == "classes"
        if not balance and not blends.share and shards.labels.min() == shards.labels.max():
            raise ShardError(
                f"the training samples are all {'fake' if shards.labels[0] else 'real'}: training needs both classes",
                where=", ".join(map(str, folders)),
                fix="give shards with both classes",
            )
        if isinstance(shards, BlendedShards):
            plan: EpochPlan = PairedPlan(shards.stored, train.seed, window, blends.share)
        else:
            plan = EpochPlan(shards.labels, train.seed, window, balance)
        return cls(task, world, shards, held_out, plan, train.steps or plan.steps(train.epochs, train.batch_size))

    def keys(self, place: int, rank: int | None = None) -> list[str]:
        """The keys of the samples of one batch of the plan, for one rank or for all; empty if they are streamed."""
        if self.task.config.data.loader == "webdataset":
            return []
        ids = self.plan.batch(place, self.task.config.train.batch_size)
        mine = ids if rank is None else self.plan.rank_slice(ids, rank, self.world.size)
        return [self.train.key(int(i)) for i in mine]

    def batches(
        self, state: TrainState, health: Watchdog, ready: Callable[[], None] = lambda: None
    ) -> Generator[Batch, None, None]:
        """This rank's batches on the device, from `state` to the last step. Before each, the random state is set.

        `state.step` is read after each batch: if the run was rolled back, further batches of the plan follow.

        Args:
            health: gets the phase of this rank.
            ready: called when the first batch is ready, before the random state is set.
        """
        train = self.task.config.train
        place, begun = state.place, False  # in the plan; it never decreases
        with self._progress(state.step) as advance:
            while place < self.steps + state.left_out:  # once, unless the run was rolled back
                with self._loader(place, self.steps + state.left_out) as loader:
                    while (batch := self._next(loader, health)) is not None:
                        if not begun:
                            ready()
                        begun = True
                        place, step = batch.step + 1, state.step
                        seed_all(train.seed, "step", batch.step, self.world.rank)
                        # Seeds stay in CPU memory: the host reads them, and must not wait for the device.
                        here = batch.to(self.world.device)
                        yield dataclasses.replace(here, seeds=batch.seeds, step=step)
                        advance((state.step - step) * train.batch_size)

    def _loader(self, start: int, stop: int) -> Loader:
        config, inputs = self.task.config, self.task.inputs
        data = config.data
        if start and data.loader == "webdataset" and self.world.main:
            log.warning(
                "data.loader=webdataset: the stream starts again at step %d, in another order. Samples of the "
                "interrupted pass may come twice or not at all; the result is not that of an undisturbed run", start
            )  # fmt: skip
        common = {"size": inputs.size, "mri": inputs.mri, "seed": config.train.seed, "on_bad": data.on_bad}
        samples = (
            SelfBlends(self.train, **common, flip=data.flip, train=True)
            if isinstance(self.train, BlendedShards)
            # an augmentation includes its own flip
            else Samples(self.train, **common, flip=0.0 if inputs.augment else data.flip, augment=inputs.augment)
        )
        options = LoaderOptions(
            library=data.loader,
            decode_on=data.decode_on,
            device=self.world.device,
            workers=data.workers,
            workers_are=data.workers_are,
            pin_memory=self.world.device.type == "cuda",
        )
        return make_loader(
            samples,
            self.plan,
            range(start, stop),
            config.train.batch_size,
            rank=self.world.rank,
            world_size=self.world.size,
            options=options,
        )

    def _next(self, loader: Loader, health: Watchdog) -> Batch | None:
        self.asked = time.perf_counter()
        health.beat("data")
        batch = next(loader, None)
        health.beat("finish" if batch is None else "compute")
        self.waited += time.perf_counter() - self.asked
        return batch

    def _progress(self, step: int) -> AbstractContextManager[Advance]:
        if not self.world.main:
            return nullcontext(lambda items=1, note="": None)
        batch = self.task.config.train.batch_size
        return bar(f"training {self.task.title}", self.steps * batch, "images", done=step * batch)


def shard_folders(data: DataConfig) -> list[Path]:
    """The shard folders on this node; shards at a URL are staged first (streamed ones without their training split)."""
    splits = (data.val_split,) if data.loader == "webdataset" else (TRAIN_SPLIT, data.val_split)
    return local_folders(data.shards, data.cache, splits)


def _check_streamed(data: DataConfig, world: World) -> None:
    """Refuse what streaming cannot do, and say what it does not promise."""
    if data.shuffle == "window":
        raise ConfigError("data.loader=webdataset has no windows: it shuffles by itself", fix="data.shuffle=full")
    if data.self_blend.share:
        raise ConfigError("data.loader=webdataset makes no self-blends", fix="another data.loader")
    if world.main:
        log.info(
            "data.loader=webdataset streams the training shards: an epoch is a number of samples, not exactly one "
            "pass; classes are balanced on average only; a resumed run differs from an undisturbed one"
        )

"""What every training job opens before its first step, and closes after its last: ranks, data, run folder, tracking.

Errors of config and data come before anything is written.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

from mrigan.config import DataConfig, DetectorConfig, GanConfig, to_dict
from mrigan.data import Augment, Batch, EpochPlan, Loader, ShardSet, check_separate, local_folders, make_loader
from mrigan.engine.average import Average
from mrigan.engine.build import check_engine
from mrigan.engine.checkpoint import Checkpoint, CheckpointStore
from mrigan.engine.distributed import World, join_world
from mrigan.engine.interface import Engine
from mrigan.engine.precision import Precision
from mrigan.engine.seeding import deterministic, seed_all
from mrigan.engine.signals import StopRequest
from mrigan.errors import ConfigError, MriganError, ShardError, TrackingError
from mrigan.health import PeerFailed, Watchdog
from mrigan.health.evidence import clear, flight_recorder
from mrigan.progress import Advance, bar
from mrigan.stopping import Stopped
from mrigan.tracking import SPOOL, Run, code_version, send
from mrigan.training.journal import Journal
from mrigan.training.resume_check import check_position, restored
from mrigan.training.run_folder import RunFolder

log = logging.getLogger(__name__)

C = TypeVar("C", GanConfig, DetectorConfig)


@dataclasses.dataclass
class Job(Generic[C]):
    """An open training job.

    Attributes:
        kind: "gan" or "detector".
        depends: what the weights depend on besides the config: data hash, the hash of a generator.
        steps: optimizer steps in all.
        resumed: the checkpoint that the job goes on from; None at the start of a run.
        health: the watch over this rank; is told where it is.
        waited: seconds that this rank has waited for batches.
        left_out: batches of the plan that no step of this run counts, because it went back past them.
        roll_backs: how often it did.
        tracking: the run in MLflow; one that does nothing until the first batch is there.
    """

    kind: str
    config: C
    depends: dict[str, Any]
    world: World
    stop: StopRequest
    train: ShardSet
    val: ShardSet
    plan: EpochPlan
    steps: int
    folder: RunFolder
    store: CheckpointStore
    resumed: Checkpoint | None
    tracking: Run
    journal: Journal
    precision: Precision
    open_tracking: Callable[[], Run] | None = None  # a dry run has none
    health: Watchdog = dataclasses.field(default_factory=Watchdog)
    waited: float = 0.0
    left_out: int = 0
    roll_backs: int = 0

    def __post_init__(self) -> None:
        if self.resumed is not None:
            self.left_out, self.roll_backs = self.resumed.state["left_out"], self.resumed.state["roll_backs"]
        self._advance: Advance = _no_progress
        self._tracked = False

    def begin_tracking(self) -> None:
        """Open the run in MLflow, or go on with it, once. Every rank must call it.

        Raises:
            TrackingError: MLflow cannot be used, under `on_failure: stop`.
        """
        if not self._tracked and self.open_tracking is not None:
            self._tracked = True
            self.world.on_main(self._track)

    def _track(self) -> None:
        assert self.open_tracking is not None
        self.tracking = self.journal.tracking = self.open_tracking()
        if not self.finished:
            self.folder.set_status("running", mlflow_run_id=self.tracking.id)

    @property
    def start(self) -> int:
        """Steps done before this start."""
        return self.resumed.step if self.resumed else 0

    @property
    def finished(self) -> bool:
        """Whether an earlier start did all that is asked for, the model included."""
        return _is_finished(self.folder, self.start, self.steps)

    def leave_early(self) -> None:
        """End before the first step of this start where a signal came. Every rank must call it.

        Raises:
            Stopped: on every rank.
        """
        if name := self.stop.early():
            raise Stopped(
                f"stopped by {name} before the first step of this start",
                where=self.folder.path,
                fix="the same command goes on",
            )

    def go_back(self, checkpoint: Checkpoint, step: int) -> None:
        """The steps after `checkpoint` are undone, at `step`; the data go on where they are."""
        back = step - checkpoint.step
        self.resumed = checkpoint
        self.left_out += back
        self.roll_backs += 1
        self._advance(-back * self.config.train.batch_size)

    def keys(self, step: int, rank: int | None = None) -> list[str]:
        """The keys of the samples of a step, of one rank or of all."""
        ids = self.plan.batch(step - 1 + self.left_out, self.config.train.batch_size)
        mine = ids if rank is None else self.plan.rank_slice(ids, rank, self.world.size)
        return [self.train.key(int(i)) for i in mine]

    def resume(self, engines: Mapping[str, Engine], average: Average | None = None) -> None:
        """Load the weights and optimizers of the checkpoint, where there is one; `average` is that of the generator."""
        if self.resumed is not None:
            for name, engine in engines.items():
                engine.load(self.resumed.tensors(name), self.resumed.tensors(f"{name}_optimizer"))
            if average is not None:
                average.load(self.resumed.tensors("generator_ema"))
            restored("precision", self.resumed, self.precision.load, self.resumed.state["precision"])
            log.info("going on from %s", self.resumed.path)

    def batches(self, size: int, augment: Augment | None = None, mri: bool | None = None) -> Iterator[Batch]:
        """This rank's training batches from `start` on, on the device; every step's random state is set before it.

        An augmentation holds its own flip, so that `data.flip` is for faces without one.
        """
        data, train, cuda = self.config.data, self.config.train, self.world.device.type == "cuda"

        def open_loader(start: int, stop: int) -> Loader:
            return make_loader(
                self.train,
                self.plan,
                global_batch=train.batch_size,
                start_step=start,
                stop_step=stop,
                rank=self.world.rank,
                world_size=self.world.size,
                workers=data.workers,
                workers_are=data.workers_are,
                library=data.loader,
                decode_on=data.decode_on,
                device=self.world.device,
                on_bad=data.on_bad,
                flip=0.0 if augment else data.flip,
                size=size,
                seed=train.seed,
                augment=augment,
                mri=mri,
                pin_memory=cuda,
            )

        place = self.start + self.left_out  # in the plan; it never goes back
        begun = False
        with self._progress() as self._advance:
            while place < self.steps + self.left_out:  # once, unless the run has gone back to a checkpoint meanwhile
                with open_loader(place, self.steps + self.left_out) as loader:
                    while (batch := self._next(loader)) is not None:
                        if not begun:
                            self.leave_early()
                            self.begin_tracking()  # what a start can fail of by a wrong setting lies behind it
                            self.leave_early()
                        begun = True
                        place = batch.step + 1
                        seed_all(train.seed, "step", batch.step, self.world.rank)
                        # Seeds stay in CPU memory: what they decide is drawn by the host, which must not wait for the
                        # device.
                        here = batch.to(self.world.device)
                        yield dataclasses.replace(here, seeds=batch.seeds, step=batch.step - self.left_out)
                        self._advance(train.batch_size)
        self.begin_tracking()  # a start that found all steps done has the model still to log

    def _next(self, loader: Loader) -> Batch | None:
        begin = time.perf_counter()
        self.health.beat("data")
        batch = next(loader, None)
        self.health.beat("finish" if batch is None else "compute")
        self.waited += time.perf_counter() - begin
        return batch

    def _progress(self) -> AbstractContextManager[Advance]:
        if not self.world.main:
            return nullcontext(_no_progress)
        batch = self.config.train.batch_size
        name = {"gan": "MRI-GAN", "detector": "detector"}[self.kind]
        return bar(f"training {name}", self.steps * batch, "images", done=self.start * batch)

    def provenance(self) -> dict[str, Any]:
        """What a model must say about where it comes from."""
        return {"config": to_dict(self.config), "code_version": code_version(), "data_hash": self.train.hash,
                "shard_hashes": self.train.folder_hashes, **self.depends,
                "mlflow_run_id": self.tracking.id}  # fmt: skip


def _no_progress(items: int = 1, note: str = "") -> None:
    pass


@contextmanager
def open_job(kind: str, config: C, *, shard_kind: str, depends: Mapping[str, Any], new: bool) -> Iterator[Job[C]]:
    """Open a job; on the way out its status is written, MLflow's run closed, the folder unlocked, the ranks parted.

    Args:
        shard_kind: "pairs" or "any"; see `ShardSet.open`.
        depends: see `Job`; the data hash is added.
        new: start afresh; an earlier run in the folder is moved aside.

    Raises:
        ConfigError, ShardError: nothing has been written.
        CheckpointError: the folder is in use, of another config, or holds only damaged checkpoints.
    """
    shard_folders(config.data)  # staging may take hours, for which no rank may wait in a collective call
    alone = config.engine.name.startswith("zero")  # DeepSpeed wants a process group, be it of one
    folder = RunFolder(config.run.dir)
    patience = timedelta(seconds=Watchdog.message_timeout(config.health))
    with (
        flight_recorder(folder.health),
        join_world(config.train.device, patience, always_group=alone) as world,
        StopRequest(world) as stop,
    ):
        train, val, plan = open_data(config, shard_kind, world)
        steps = config.train.steps or plan.steps(config.train.epochs, config.train.batch_size)
        store = CheckpointStore(folder.checkpoints, config.checkpoint.keep, config.checkpoint.permanent)
        depends = {"kind": kind, "data_hash": train.hash, **depends}

        def prepare() -> int:
            folder.open(to_dict(config), depends, new)
            clear(folder.health)
            checkpoint = store.recover(lambda found: check_position(found, config.train.batch_size, plan.epoch_length))
            if checkpoint is None:
                return 0
            folder.check_origin(checkpoint, to_dict(config), depends)
            return checkpoint.step

        try:
            step = world.on_main(prepare)
            with Watchdog(
                folder.health, world, config.health, step=step, steps=steps, set_status=folder.tell
            ) as health:
                resumed = store.load(step, verify=False) if step else None
                tracking = Run()

                def open_tracking() -> Run:
                    if _is_finished(folder, step, steps):
                        _send_rest(folder)
                        return Run()
                    tracking = _track(config, folder, resumed, depends, stop)
                    for shards, context in ((train, "training"), (val, "validation")):
                        tracking.log_dataset(shards.folders, shards.split, shards.hash, context, shards.counts())
                    return tracking

                journal = Journal(folder.metrics if world.main else None, tracking)
                precision = Precision(config.train.precision, world.device)
                job = Job(
                    kind,
                    config,
                    depends,
                    world,
                    stop,
                    train,
                    val,
                    plan,
                    steps,
                    folder,
                    store,
                    resumed,
                    tracking,
                    journal,
                    precision,
                    open_tracking,
                    health,
                )
                if job.finished:  # what was logged while MLflow was away may still have to be sent
                    job.begin_tracking()
                exact = deterministic(config.train.deterministic, world.device, config.engine.tf32)
                with exact, _recorded(job), health.failures():
                    job.leave_early()
                    yield job
        finally:
            folder.close()


def open_data(
    config: GanConfig | DetectorConfig, shard_kind: str, world: World
) -> tuple[ShardSet, ShardSet, EpochPlan]:
    """The training shards, the held-out ones, and the plan of the epochs; refuses what cannot be trained."""
    train, data = config.train, config.data
    check_engine(config.engine, world)
    if not train.steps and not train.epochs:
        raise ConfigError("how long to train is not said", fix="give train.steps=… or train.epochs=…")
    parts = world.size * config.engine.accumulate
    if train.batch_size % parts:
        ranks = f"{world.size} of them" + (f", each in {config.engine.accumulate} parts" if parts > world.size else "")
        raise ConfigError(
            f"train.batch_size={train.batch_size} is for all ranks and cannot be divided by {ranks}",
            fix=f"use a multiple of {parts}",
        )
    if not data.shards:
        raise ConfigError("data.shards is empty", fix="give data.shards=DIR, what `mrigan shards build DIR` has made")
    folders = shard_folders(data)
    shards, held_out = (ShardSet.open(folders, split, shard_kind) for split in (data.train_split, data.val_split))
    check_separate(folders)
    shards.verify = held_out.verify = data.verify
    window = shards.window(data.window, train.batch_size) if data.shuffle == "window" else None
    if window is not None and window.lanes % world.size:
        log.warning("data.window=%d: each shard is read by several of the %d ranks; a multiple of %d is read by one",
                    data.window, world.size, 2 * world.size)  # fmt: skip
    balance = data.balance == "classes"
    if not balance and shards.labels.min() == shards.labels.max():
        raise ShardError(
            f"the training samples are all {'fake' if shards.labels[0] else 'real'}: nothing can be told apart",
            where=", ".join(map(str, folders)),
            fix="give shards of both classes",
        )
    return shards, held_out, EpochPlan(shards.labels, train.seed, window, balance)


def shard_folders(data: DataConfig) -> list[Path]:
    """The folders of this node that hold the shards; where they are elsewhere, they are staged first."""
    return local_folders(data.shards, data.cache, (data.train_split, data.val_split))


def _is_finished(folder: RunFolder, step: int, steps: int) -> bool:
    status = folder.status()
    return status.get("state") == "finished" and status.get("step") == steps == step


def _send_rest(folder: RunFolder) -> None:
    """A finished run stays as it is in MLflow, which gets what it has not got yet."""
    if (folder.path / SPOOL).is_file():
        try:
            send(folder.path)
        except TrackingError as error:
            log.warning("%s", error)


def _track(
    config: GanConfig | DetectorConfig,
    folder: RunFolder,
    resumed: Checkpoint | None,
    depends: dict[str, Any],
    stop: StopRequest,
) -> Run:
    """The run's MLflow run: the one of its earlier starts, where there was one."""

    def request_stop() -> None:
        stop.received = stop.received or signal.SIGUSR1

    run_id = folder.status().get("mlflow_run_id") or (resumed.state["mlflow_run_id"] if resumed else None)
    name = config.run.name or folder.path.resolve().name
    return Run.start(
        config.tracking,
        name,
        run_id,
        params=to_dict(config),
        tags=depends,
        folder=folder.path,
        request_stop=request_stop,
    )


@contextmanager
def _recorded(job: Job[Any]) -> Iterator[None]:
    """Say in `status.json` and in MLflow how the job ended, if it lives to say it."""
    if not job.world.main:
        try:
            yield
        except Stopped:
            job.world.barrier()  # until rank 0 has written its word: launchers kill who outlives the first to leave
            raise
        return
    if job.finished:
        state = "finished"
    else:
        state = "running"
        job.journal.rewind(job.start)
        job.folder.set_status("running", step=job.start, error=None)
    try:
        yield
    except Stopped as stopped:
        job.folder.set_status("stopped", error=stopped.what)
        job.tracking.close("KILLED")
        job.world.barrier()
        raise
    except BaseException as error:
        known = error.what if isinstance(error, MriganError) else None
        state, again = (error.state, error.again) if isinstance(error, PeerFailed) else ("failed", known is None)
        # What is known would come again; another error may be a machine's fault.
        job.folder.set_status(state, error=known or repr(error), retry=again)
        job.tracking.close("FAILED")
        raise
    if state == "running":
        job.folder.set_status("finished", step=job.steps, mlflow_run_id=job.tracking.id)
    job.tracking.close("FINISHED")

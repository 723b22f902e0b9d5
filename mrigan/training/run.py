"""What a run opens besides data and weights: ranks, folder, watchdog, log; and how it records its end."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mrigan.config import to_dict
from mrigan.config.engines import ENGINES
from mrigan.engine.checkpoint import Checkpoint, CheckpointStore
from mrigan.engine.distributed import World, join_world
from mrigan.engine.seeding import deterministic
from mrigan.engine.signals import StopRequest
from mrigan.errors import MriganError, TrackingError
from mrigan.health import PeerFailed, Watchdog
from mrigan.health.evidence import clear, flight_recorder
from mrigan.stopping import Stopped
from mrigan.tracking import Run, is_tracked, send
from mrigan.training.data import TrainingData, shard_folders
from mrigan.training.resume_check import check_position
from mrigan.training.run_folder import RunFolder
from mrigan.training.task import Task

log = logging.getLogger(__name__)


@dataclass
class OpenRun:
    """One start of a run.

    Attributes:
        depends: what the weights depend on besides the config: task, data hash, and what the task adds.
        health: the watchdog of this rank.
        resumed: the checkpoint that this start continues; None at the start of a run.
        finished: an earlier start did everything, including the model.
        tracking: the log of the run: on rank 0 in metrics.jsonl, and after `track` in MLflow too.
    """

    task: Task[Any]
    depends: dict[str, Any]
    world: World
    stop: StopRequest
    health: Watchdog
    folder: RunFolder
    store: CheckpointStore
    resumed: Checkpoint | None
    finished: bool
    tracking: Run
    _tracked: bool = False

    @property
    def start(self) -> int:
        """Steps done before this start."""
        return self.resumed.step if self.resumed else 0

    def leave_early(self) -> None:
        """End before the first step of this start if a signal requested it. Every rank must call it.

        Raises:
            Stopped: on every rank.
        """
        if name := self.stop.early():
            raise Stopped(
                f"stopped by {name} before the first step of this start",
                where=self.folder.path,
                fix="run the same command to continue",
            )

    def begin(self, data: TrainingData) -> None:
        """Called when the first batch is ready. Wrong settings fail before, so that they leave no run in MLflow."""
        self.leave_early()
        self.track(data)
        self.leave_early()

    def track(self, data: TrainingData) -> None:
        """Start or continue the run in MLflow, once. Every rank must call it.

        Raises:
            TrackingError: MLflow cannot be used, with `on_failure: stop`.
        """
        if not self._tracked:
            self._tracked = True
            self.world.on_main(lambda: self._track(data))

    def request_stop(self) -> None:
        """Like a signal: save after the current step, and end."""
        self.stop.received = self.stop.received or signal.SIGUSR1

    def _track(self, data: TrainingData) -> None:
        if self.finished:
            _send_rest(self.folder)
            return
        config = self.task.config
        status = self.folder.status().get("mlflow_run_id")
        self.tracking.mirror(
            config.tracking,
            config.run.name or self.folder.path.resolve().name,
            status or (self.resumed.state["mlflow_run_id"] if self.resumed else None),
            params=to_dict(config),
            tags=self.depends,
            request_stop=self.request_stop,
        )
        for shards, context in ((data.train, "training"), (data.val, "validation")):
            self.tracking.log_dataset(shards.folders, shards.split, shards.hash, context, shards.counts())
        self.folder.set_status("running", mlflow_run_id=self.tracking.id)


@contextmanager
def open_run(task: Task[Any], new: bool) -> Iterator[tuple[OpenRun, TrainingData]]:
    """Open a run. At the end its status is written, the MLflow run is closed, and the folder is unlocked.

    Args:
        new: start a new run; an earlier run in the folder is moved aside.

    Raises:
        ConfigError, ShardError: nothing has been written.
        CheckpointError: the folder is in use, has another config, or has only damaged checkpoints.
    """
    config = task.config
    shard_folders(config.data)  # staging may take hours; no rank may wait for it in a collective call
    folder = RunFolder(config.run.dir)
    with flight_recorder(folder.health), joined_world(task) as world, StopRequest(world) as stop:
        data = TrainingData.open(task, world)
        store = CheckpointStore(folder.checkpoints, config.checkpoint.keep, config.checkpoint.permanent)
        depends = {"kind": task.name, "data_hash": data.train.hash, **task.depends}

        def prepare() -> tuple[int, bool]:
            folder.open(config, depends, new)
            clear(folder.health)
            batch, epoch = config.train.batch_size, data.plan.epoch_length
            checkpoint = store.recover(lambda found: check_position(found, batch, epoch))
            if checkpoint is None:
                return 0, False
            folder.check_origin(checkpoint, config, depends)
            status = folder.status()
            finished = status.get("state") == "finished" and status.get("step") == data.steps == checkpoint.step
            return checkpoint.step, finished

        try:
            step, finished = world.on_main(prepare)
            with Watchdog(
                folder.health, world, config.health, step=step, steps=data.steps, set_status=folder.report_end
            ) as health:
                resumed = store.load(step, verify=False) if step else None
                tracking = Run(folder.path if world.main else None)
                run = OpenRun(task, depends, world, stop, health, folder, store, resumed, finished, tracking)
                if finished:  # a part of the log may still have to be sent
                    run.track(data)
                exact = deterministic(world.device, config.engine.tf32)
                with exact, _recorded(run, data.steps), health.failures():
                    run.leave_early()
                    yield run, data
        finally:
            folder.close()


def joined_world(task: Task[Any]) -> AbstractContextManager[World]:
    """This rank among the others; a single rank gets a process group if its engine needs one."""
    config = task.config
    patience = timedelta(seconds=Watchdog.message_timeout(config.health))
    return join_world(config.train.device, patience, always_group=ENGINES[config.engine.name].needs_group)


@contextmanager
def _recorded(run: OpenRun, steps: int) -> Iterator[None]:
    """Record in `status.json` and in MLflow how the run ended."""
    if not run.world.main:
        try:
            yield
        except Stopped:
            run.world.barrier()  # rank 0 writes first: launchers kill the other ranks when the first one ends
            raise
        return
    if not run.finished:
        run.tracking.rewind(run.start)
        run.folder.set_status("running", step=run.start, error=None)
    try:
        yield
    except Stopped as stopped:
        run.folder.set_status("stopped", error=stopped.what)
        run.tracking.close("KILLED")
        run.world.barrier()
        raise
    except BaseException as error:
        known = error.what if isinstance(error, MriganError) else None
        state, again = (error.state, error.again) if isinstance(error, PeerFailed) else ("failed", known is None)
        # Our own errors would be repeated by a retry; another error may be a fault of the machine.
        run.folder.set_status(state, error=known or repr(error), retry=again)
        run.tracking.close("FAILED")
        raise
    if not run.finished:
        run.folder.set_status("finished", step=steps, mlflow_run_id=run.tracking.id)
    run.tracking.close("FINISHED")


def _send_rest(folder: RunFolder) -> None:
    """Send the rest of the log of a finished run, which does not change otherwise."""
    if is_tracked(folder.path):
        try:
            send(folder.path)
        except TrackingError as error:
            log.warning("%s", error)

"""The training loop, the same for every task, for one process or many.

    mrigan train gan configs/gan/paper.yaml data.shards=DIR run.dir=DIR
    torchrun --nproc-per-node 8 launch/train.py gan configs/gan/paper.yaml data.shards=DIR run.dir=DIR

A step depends only on the state, the batch, and the random state that `TrainingData.batches` sets before it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrigan.training.callbacks import open_callbacks
from mrigan.training.callbacks.base import Callback, RollBack
from mrigan.training.forecast import warn_of_long_steps
from mrigan.training.job import Job
from mrigan.training.roll_back import roll_back
from mrigan.training.run import open_run
from mrigan.training.run_folder import as_begun
from mrigan.training.state import TrainState
from mrigan.training.tasks import find_task

log = logging.getLogger(__name__)


def train(name: str, config: Any, new: bool = False, callbacks: Sequence[type[Callback]] = ()) -> Path:
    """Train, or continue the run in `config.run.dir`.

    Args:
        name: of the task: a key of `mrigan.training.tasks.TASKS`, such as "gan" or "detector".
        config: of the task's `config_class`; `train.batch_size` is global.
        new: start a new run; an earlier run in the folder is moved to `<dir>.old-N`.
        callbacks: classes of your own, called after Mrigan's evaluation and before its checkpoint.

    Returns:
        `run.dir`, with the model of the best checkpoint in `model/`.

    Raises:
        Stopped: a signal requested it; everything is saved.
        MriganError: see `open_run` and the task's `check`; `DivergedError` by the policy of `config.health`.
    """
    task = find_task(name).task_class()(as_begun(config, new))
    with open_run(task, new) as (run, data):
        if run.finished:
            log.info("%s is finished", run.folder.path)
            return run.folder.path
        state = TrainState.build(task, run.world)
        if run.resumed:
            state.load_state_dict(run.resumed)
        job = Job(task, data, run, state)
        task.begin(job)
        with open_callbacks(job, callbacks) as opened:
            warn_of_long_steps(job)
            for batch in data.batches(state, run.health, ready=lambda: run.begin(data)):
                state.set_learning_rate(task)
                result = task.step(state, batch)
                state.stepped(batch.step + 1)
                try:
                    for callback in opened:  # divergence, log, evaluation, your own, checkpoint, stop
                        callback.after_step(result)
                except RollBack as order:
                    roll_back(job, opened, order)
        run.track(data)  # if all steps were already done, the model may still have to be logged
        task.finish(job)
        return run.folder.path

"""A stop between two steps, when a signal or a stop file asks for it."""

from __future__ import annotations

from mrigan.stopping import Stopped
from mrigan.training.callbacks.base import Callback
from mrigan.training.callbacks.checkpoint import SaveCheckpoint
from mrigan.training.job import Job
from mrigan.training.task import StepResult


class Stop(Callback):
    """Saves and leaves when any rank has received a signal; the last callback of all.

    A checkpoint that could not be written asks for a stop, too: its error comes up here, on every rank.
    """

    def __init__(self, job: Job, checkpoint: SaveCheckpoint) -> None:
        super().__init__(job)
        self.checkpoint = checkpoint

    def after_step(self, result: StepResult) -> None:
        """See `Callback.after_step`.

        Raises:
            Stopped: all is saved.
            CheckpointError: a checkpoint could not be written.
            TrackingError: MLflow failed for too long, under `tracking.on_failure: stop`; all is saved.
        """
        run, step = self.job.run, self.job.state.step
        name = run.stop.agreed(step)
        if name:
            self.checkpoint.save()
            self.checkpoint.settle()
            run.world.on_main(run.tracking.check)
            raise Stopped(
                f"stopped by {name} at step {step} of {self.job.data.steps}, and saved",
                where=run.folder.path,
                fix="the same command goes on from here",
            )

"""Ends the run between two steps if a signal or a stop file requests it."""

from __future__ import annotations

from mrigan.stopping import Stopped
from mrigan.training.callbacks.base import Callback
from mrigan.training.callbacks.checkpoint import SaveCheckpoint
from mrigan.training.job import Job
from mrigan.training.task import StepResult


class Stop(Callback):
    """Saves and ends the run if any rank has received a signal; the last callback.

    A checkpoint that could not be written requests a stop, too: its error is raised here, on every rank.
    """

    def __init__(self, job: Job, checkpoint: SaveCheckpoint) -> None:
        super().__init__(job)
        self.checkpoint = checkpoint

    def after_step(self, result: StepResult) -> None:
        """See `Callback.after_step`.

        Raises:
            Stopped: everything is saved.
            CheckpointError: a checkpoint could not be written.
            TrackingError: MLflow failed for too long, with `tracking.on_failure: stop`; everything is saved.
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
                fix="run the same command to continue",
            )

"""What a run logs: into its folder, and from there to MLflow.

Training never blocks on MLflow, and never fails because of it, unless configured to. Everything is written to files of
the run folder first (`mrigan.tracking.log`). A thread copies them to MLflow (`mrigan.tracking.mirror`). What is not
sent when the job ends is sent by the next start of the job, or by `mrigan track send`.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from mrigan import __version__
from mrigan.config import MlflowConfig, flatten
from mrigan.errors import TrackingError
from mrigan.files import write_json
from mrigan.tracking.earlier import QUEUE, take_over
from mrigan.tracking.log import EVENTS, METRICS, LineLog
from mrigan.tracking.mirror import STATE, TO_DO, Mirror
from mrigan.tracking.provenance import code_version, environment, source_tags
from mrigan.tracking.store import tracking_uri

log = logging.getLogger(__name__)

MAX_START_WAIT = 30.0  # seconds that a start waits for MLflow's first answer, to know the run's id
MAX_STOP_WAIT = 10.0  # seconds that a stopped or failed run has to send the rest
SLOW_FACTOR = 10  # times the patience, for a store that accepts lines slowly


class Run:
    """The log of a run, used by global rank 0. From `mirror` on, MLflow gets a copy.

    Args:
        folder: of metrics.jsonl; None = nothing is logged, as on the other ranks.

    Attributes:
        uri: the store; "" without one.
        id: MLflow's run id; None if there is no mirror, or if MLflow has not answered yet.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder.absolute() if folder else None
        self.uri = ""
        self._metrics = LineLog(self.folder / METRICS) if self.folder else None
        self._events = LineLog(self.folder / EVENTS) if self.folder else None
        self._mirror: Mirror | None = None
        self._id = self._failure = ""
        self._config = MlflowConfig()
        self._request_stop: Callable[[], None] = lambda: None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def start(cls, config: MlflowConfig, run_name: str, *, folder: Path | None = None, **about: Any) -> Run:
        """A run with a mirror, for what is no training.

        Args:
            config, run_name, about: see `mirror`.
            folder: None = a temporary one: lines that are not sent at the end are lost.
        """
        run = cls(folder)
        if folder is None and config.enabled:
            scratch = tempfile.TemporaryDirectory(prefix="mrigan-run-", ignore_cleanup_errors=True)
            run = cls(Path(scratch.name))
            run._scratch = scratch
        run.mirror(config, run_name, **about)
        return run

    def mirror(
        self,
        config: MlflowConfig,
        run_name: str,
        run_id: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        *,
        request_stop: Callable[[], None] = lambda: None,
    ) -> None:
        """Copy the log to a new run in MLflow from now on, or to the one that this folder had before.

        Args:
            config: with `enabled: false` there is no mirror.
            run_name: shown in MLflow.
            run_id: the run to continue, if the folder does not say. If the store has lost it, a new run is started.
            params: the resolved config, nested or flat; also logged as the artifact `config.json`.
            tags: for example `data_hash`. Mrigan's version, code version, command, commit and user are added.
            request_stop: with `on_failure: stop`, called in another thread if MLflow fails for too long.

        Raises:
            TrackingError: MLflow cannot be used, with `on_failure: stop`.
        """
        if not config.enabled or self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            take_over(self.folder)
        except TrackingError as error:
            log.warning("%s. The next start sends them", error)
        again = (self.folder / STATE).exists() or bool(run_id)
        self.uri, self._config, self._request_stop = tracking_uri(config.uri), config, request_stop
        gave_up = {"buffer": None, "stop": self._stop, "off": self._disable}[config.on_failure]
        about = {"uri": self.uri, "experiment": config.experiment, "name": run_name, "run_id": run_id or "",
                 "started": int(time.time() * 1000)}  # fmt: skip
        self._mirror = mirror = Mirror(self.folder, self._metrics, about, config.patience, gave_up)
        if again:
            self._log("status", status="RUNNING")
        if params:
            self._log("params", params={key: str(value) for key, value in flatten(dict(params)).items()})
            self._log_json("config.json", params)
        self.set_tags({"mrigan.version": __version__, "code_version": code_version(), **source_tags(), **(tags or {})})
        self._log_json("environment.json", environment())
        mirror.start()
        mirror.tried.wait(MAX_START_WAIT)
        try:
            self.check()
        except TrackingError:
            self._end()
            raise

    @property
    def id(self) -> str | None:
        """See the class."""
        mirror = self._mirror  # its thread may set it to None
        return (mirror.state.run_id if mirror is not None else self._id) or None

    @property
    def active(self) -> bool:
        """Whether there is a mirror; lines may be sent later."""
        return self._mirror is not None

    def check(self) -> None:
        """With `on_failure: stop`, raise TrackingError if MLflow has failed for too long."""
        if self._failure:
            fix = f"{TO_DO}; then run the same command again"
            raise TrackingError(f"MLflow cannot be used: {self._failure}", where=self.uri, fix=fix)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; existing values are replaced."""
        self._log("tags", tags={key: str(value) for key, value in tags.items()})

    def log_metrics(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Log numbers of one step. None, NaN and infinities are null in metrics.jsonl and are not sent to MLflow.

        MLflow keeps the first value of a metric and step.
        """
        if self._metrics is not None and metrics:
            numbers = {name: x if x is None or math.isfinite(x) else None for name, x in metrics.items()}
            self._metrics.append({"step": step, "time": round(time.time(), 3), **numbers})

    def rewind(self, step: int) -> None:
        """Remove the metrics after a step, which were lost with a killed job and will be logged again."""
        if self._metrics is not None:
            self._metrics.rewind(step)

    def log_artifact(self, path: str | Path, folder: str = "") -> None:
        """Log a file, or a folder with its contents, under `folder` of the run's artifacts.

        It is read when it is sent, and must not be removed before.
        """
        self._log("artifact", path=self._relative(path), folder=folder)

    def log_dataset(
        self, folders: Sequence[str | Path], split: str, digest: str, context: str, profile: Mapping[str, Any]
    ) -> None:
        """Log a split of shard folders as a data set of the run.

        Args:
            digest: the data hash. context: "training", "validation" or "evaluation". profile: counts, as plain data.
        """
        paths = [Path(folder).absolute() for folder in folders]
        name, source = f"{', '.join(path.name for path in paths)}: {split}", ", ".join(map(str, paths))
        self._log("dataset", name=name, digest=digest, source=source, context=context, profile=dict(profile))

    def register(self, folder: str | Path, name: str, tags: Mapping[str, Any]) -> None:
        """Register a model folder once as the next version of `name`; see `mrigan.tracking.register`."""
        self._log("model", path=self._relative(folder), name=name, tags=dict(tags))

    def close(self, status: str = "FINISHED") -> None:
        """End the run as FINISHED, FAILED, or KILLED (a job that was stopped and will be resumed).

        Waits a limited time (`tracking.patience`) until everything is sent, and logs how much is left.
        """
        self._log("status", status=status, time=round(time.time(), 3))
        mirror, patience = self._mirror, self._config.patience
        if mirror is not None:
            if status == "FINISHED":
                mirror.finish(patience, max(SLOW_FACTOR * patience, MAX_STOP_WAIT))
            else:
                mirror.finish(min(patience, MAX_STOP_WAIT), MAX_STOP_WAIT)
            left = mirror.left()
            if left:
                rest = "lost" if self._scratch else f"kept. To do: mrigan track send {self.folder}"
                log.warning("not sent to MLflow (%s): %s. They are %s", self.uri, in_words(left), rest)
            elif mirror.link:
                log.info("MLflow run: %s", mirror.link)
        self._end()
        if self._scratch is not None:
            self._scratch.cleanup()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        stopped = kind is not None and not issubclass(kind, Exception)  # Ctrl-C, SystemExit
        self.close("KILLED" if stopped else "FAILED" if kind else "FINISHED")

    def _log(self, kind: str, **row: Any) -> None:
        """Add a line for the mirror. On a disk error it is lost, with a warning: the caller continues."""
        if self._mirror is None or self._events is None:
            return
        try:
            self._events.append({"kind": kind, **row})
        except OSError as error:  # for example a full disk, which will stop the training at a checkpoint
            log.warning("cannot write %s to %s (%s): MLflow will not get it", kind, self._events.path, error)

    def _log_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Write a file of the run folder, and log it."""
        assert self.folder is not None
        write_json(self.folder / name, dict(data))
        self.log_artifact(self.folder / name)

    def _relative(self, path: str | Path) -> str:
        """The path relative to the run folder, which may be moved before everything is sent."""
        path, home = Path(path).absolute(), self.folder
        return str(path.relative_to(home) if home is not None and path.is_relative_to(home) else path)

    def _stop(self, why: str) -> None:
        self._failure = why
        self._request_stop()

    def _disable(self, why: str) -> None:
        log.warning("MLflow (%s) failed for too long: this job continues without it. To do: %s", self.uri, TO_DO)
        self._end()

    def _end(self) -> None:
        mirror, self._mirror = self._mirror, None
        if mirror is not None:
            self._id = mirror.state.run_id
            mirror.close()


def send(folder: str | Path, uri: str = "", patience: float = 30.0) -> tuple[int, str]:
    """Send what a run folder has logged and MLflow does not have, to its store, or to a new run in the store `uri`.

    Args:
        patience: seconds to retry while the store fails.

    Returns:
        The number of lines that were sent, and MLflow's run id.

    Raises:
        TrackingError: the folder has nothing for MLflow, a job has it open, or MLflow did not accept everything.
    """
    folder = Path(folder).absolute()
    if not is_tracked(folder):
        what = "the run was not tracked: there is nothing for MLflow in the folder"
        raise TrackingError(what, where=folder, fix="give the run.dir of a training")
    take_over(folder)
    mirror = Mirror(folder, about={"uri": tracking_uri(uri)} if uri else None)
    mirror.open()
    try:
        before = sum(mirror.left().values())
        if before:
            mirror.start()
            mirror.finish(patience, math.inf)
        left = mirror.left()
        if left:
            raise TrackingError(
                f"not sent to MLflow: {in_words(left)}: {mirror.failure or 'it does not accept files'}",
                where=mirror.state.uri,
                fix="check the server, or give another store with --uri; then run the same command again",
            )
        return before, mirror.state.run_id
    finally:
        mirror.close()


def is_tracked(folder: Path) -> bool:
    """Whether a run folder has something for MLflow, sent or not."""
    return any((folder / name).is_file() for name in (EVENTS, QUEUE))


def in_words(kinds: Mapping[str, int]) -> str:
    """`{"metrics": 12, "artifact": 1}` → "13 lines (12 metrics, 1 artifact)"."""
    return f"{sum(kinds.values())} lines ({', '.join(f'{count} {kind}' for kind, count in kinds.items())})"

"""One MLflow run per job. Training never blocks on MLflow, and never fails because of it, unless configured to.

Log entries are written to a file in the run folder (`mrigan.tracking.spool`). A thread sends them to MLflow
(`mrigan.tracking.sender`). Entries that are not sent when the job ends stay in the file; the next start of the job or
`mrigan track send` sends them.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from mrigan import __version__
from mrigan.config import TrackingConfig, flatten
from mrigan.errors import TrackingError
from mrigan.tracking.provenance import code_version, environment, source_tags
from mrigan.tracking.sender import TO_DO, Sender
from mrigan.tracking.spool import SPOOL, Spool
from mrigan.tracking.store import tracking_uri

log = logging.getLogger(__name__)

KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH = 250, 6000, 8000  # characters (MLflow's limits)
DATASET_LENGTH, DIGEST_LENGTH = 500, 36  # characters of its name and its digest (MLflow's limits)
MAX_START_WAIT = 30.0  # seconds that a start waits for MLflow's first answer, to know the run's id
MAX_STOP_WAIT = 10.0  # seconds that a stopped or failed run has to send the rest
SLOW_FACTOR = 10  # times the patience, for a store that accepts entries slowly


class Run:
    """A job's run in MLflow, used only by global rank 0; without a spool it does nothing.

    Attributes:
        uri: the store.
    """

    def __init__(self, spool: Spool | None = None, config: TrackingConfig | None = None) -> None:
        self._spool, self._config = spool, config or TrackingConfig()
        self.uri = spool.fact("uri") if spool is not None else ""
        self._id = ""
        self._request_stop: Callable[[], None] = lambda: None
        self._failure = ""
        policy, patience = self._config.on_failure, self._config.patience
        gave_up = {"buffer": None, "stop": self._stop, "off": self._disable}[policy]
        self._sender = Sender(spool, patience, gave_up) if spool is not None else None

    @classmethod
    def start(
        cls,
        config: TrackingConfig,
        run_name: str,
        run_id: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        *,
        folder: Path | None = None,
        request_stop: Callable[[], None] = lambda: None,
    ) -> Run:
        """Start a new run, or continue the run of `folder` or `run_id`. If the store has lost it, start a new one.

        Args:
            config: with `enabled: false` the run does nothing.
            run_name: shown in MLflow.
            params: the resolved config, nested or flat; logged as params and as the artifact `config.json`.
            tags: for example `data_hash`. Mrigan's version, code version, command, commit and user are added.
            folder: of the spool; None = in memory, where unsent entries are lost at the end.
            request_stop: with `on_failure: stop`, called in another thread if MLflow fails for too long.

        Raises:
            TrackingError: MLflow cannot be used, with `on_failure: stop`.
        """
        if not config.enabled:
            return cls()
        spool = _open_spool(folder)
        existing = spool.fact("run_id") or run_id or ""
        spool.note(uri=tracking_uri(config.uri), experiment=config.experiment, name=run_name, run_id=existing)
        if not spool.fact("started"):
            spool.note(started=str(_now()))
        run = cls(spool, config)
        run._request_stop = request_stop
        run._begin(params or {}, tags or {}, again=bool(existing))
        try:
            run.check()
        except TrackingError:
            spool.close()
            raise
        return run

    def _begin(self, params: Mapping[str, Any], tags: Mapping[str, Any], again: bool) -> None:
        assert self._sender is not None
        if again:
            self._add("status", {"status": "RUNNING"})
        self.log_params(params)
        self.set_tags({"mrigan.version": __version__, "code_version": code_version(), **source_tags(), **tags})
        if params:
            self.log_json(dict(params), "config.json")
        self.log_json(environment(), "environment.json")
        self._sender.start()
        self._sender.tried.wait(MAX_START_WAIT)

    @property
    def id(self) -> str | None:
        """MLflow's run id; None if tracking is off, or if MLflow has not answered yet."""
        spool = self._spool
        return (spool.fact("run_id") if spool is not None else self._id) or None

    @property
    def active(self) -> bool:
        """Whether tracking is on; entries may be sent later."""
        return self._spool is not None

    def check(self) -> None:
        """With `on_failure: stop`, raise TrackingError if MLflow has failed for too long."""
        if self._failure:
            fix = f"{TO_DO}; then run the same command again"
            raise TrackingError(f"MLflow cannot be used: {self._failure}", where=self.uri, fix=fix)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log a config, nested or flat. MLflow keeps the first value of each key."""
        flat = {key[:KEY_LENGTH]: str(value)[:PARAM_LENGTH] for key, value in flatten(dict(params)).items()}
        self._add("params", flat)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; existing values are replaced."""
        self._add("tags", {key[:KEY_LENGTH]: str(value)[:TAG_LENGTH] for key, value in tags.items()})

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log numbers of one step. Steps of a key that are not higher than its last step are ignored.

        An infinite value becomes the largest float; NaN stays NaN.
        """
        spool = self._spool  # the sender's thread may set it to None
        if spool is not None and self._sender is not None:
            values = {key[:KEY_LENGTH]: _storable(value) for key, value in metrics.items()}
            spool.add_metrics(values, step, _now())
            self._sender.wake()

    def log_artifact(self, path: str | Path, folder: str = "") -> None:
        """Log a file, or a folder with its contents, under `folder` of the run's artifacts.

        It is read when it is sent, and must not be removed before.
        """
        self._add("artifact", {"path": self._relative(path), "folder": folder})

    def log_json(self, data: Any, name: str) -> None:
        """Log plain data as the JSON artifact `name`."""
        self._add("text", {"name": name, "text": json.dumps(data, indent=2, ensure_ascii=False, default=str)})

    def log_dataset(
        self, folders: Sequence[str | Path], split: str, digest: str, context: str, profile: Mapping[str, Any]
    ) -> None:
        """Log a split of shard folders as a data set of the run.

        Args:
            digest: the data hash. context: "training", "validation" or "evaluation". profile: counts, as plain data.
        """
        name = f"{', '.join(Path(folder).absolute().name for folder in folders)}: {split}"[:DATASET_LENGTH]
        where = ", ".join(str(Path(folder).absolute()) for folder in folders)
        body = {"name": name, "digest": digest[:DIGEST_LENGTH], "source": where, "context": context}
        self._add("dataset", {**body, "profile": dict(profile)})

    def register(self, folder: str | Path, name: str, tags: Mapping[str, Any]) -> None:
        """Register a model folder once as the next version of `name`; see `mrigan.tracking.register`."""
        self._add("model", {"folder": self._relative(folder), "name": name, "tags": dict(tags)})

    def close(self, status: str = "FINISHED") -> None:
        """End the run as FINISHED, FAILED, or KILLED (a job that was stopped and will be resumed).

        Waits a limited time (`tracking.patience`) until all entries are sent, and logs how many are left.
        """
        spool = self._spool
        if spool is None or self._sender is None:
            return
        spool.add("status", {"status": status, "time": _now()})
        patience = self._config.patience
        if status == "FINISHED":
            self._sender.finish(patience, max(SLOW_FACTOR * patience, MAX_STOP_WAIT))
        else:
            self._sender.finish(min(patience, MAX_STOP_WAIT), MAX_STOP_WAIT)
        left = spool.kinds()
        if left:
            log.warning("not sent to MLflow (%s): %s. %s", self.uri, in_words(left), _advice_on_rest(spool.path))
        elif spool.fact("link"):
            log.info("MLflow run: %s", spool.fact("link"))
        self._id, self._spool = spool.fact("run_id"), None
        spool.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        stopped = kind is not None and not issubclass(kind, Exception)  # Ctrl-C, SystemExit
        self.close("KILLED" if stopped else "FAILED" if kind else "FINISHED")

    def _add(self, kind: str, body: Mapping[str, Any]) -> None:
        spool = self._spool
        if spool is not None and self._sender is not None:
            spool.add(kind, body)
            self._sender.wake()

    def _relative(self, path: str | Path) -> str:
        """The path relative to the run folder, which may be moved before all entries are sent."""
        path = Path(path).absolute()
        spool = self._spool
        home = spool.path.parent if spool is not None and spool.path else None
        return str(path.relative_to(home) if home is not None and path.is_relative_to(home) else path)

    def _stop(self, why: str) -> None:
        self._failure = why
        self._request_stop()

    def _disable(self, why: str) -> None:
        log.warning("MLflow (%s) failed for too long: this job continues without it. To do: %s", self.uri, TO_DO)
        spool = self._spool
        if spool is not None:
            self._id, self._spool = spool.fact("run_id"), None
            spool.clear()
            spool.close()


def send(folder: str | Path, uri: str = "", patience: float = 30.0) -> tuple[int, str]:
    """Send the unsent entries of a run folder to their store, or to `uri`.

    Args:
        patience: seconds to retry while the store fails.

    Returns:
        The number of entries that were sent, and MLflow's run id.

    Raises:
        TrackingError: there is no file of entries, a job has it open, or MLflow did not accept all entries.
    """
    folder = Path(folder).absolute()
    if not (folder / SPOOL).is_file():
        what = f"there is no {SPOOL} in the folder, so there are no entries for MLflow"
        raise TrackingError(what, where=folder, fix="give the run.dir of a training")
    spool = Spool(folder / SPOOL)
    try:
        if uri:
            spool.note(uri=tracking_uri(uri))
        before = sum(spool.kinds().values())
        sender = Sender(spool)
        if before:
            sender.start()
            sender.finish(patience, math.inf)
        left = spool.kinds()
        if left:
            raise TrackingError(
                f"not sent to MLflow: {in_words(left)}: {sender.failure or 'it does not accept files'}",
                where=spool.fact("uri"),
                fix="check the server, or give another store with --uri; then run the same command again",
            )
        return before, spool.fact("run_id")
    finally:
        spool.close()


def in_words(kinds: Mapping[str, int]) -> str:
    """`{"metrics": 12, "artifact": 1}` → "13 entries (12 metrics, 1 artifact)"."""
    return f"{sum(kinds.values())} entries ({', '.join(f'{count} {kind}' for kind, count in kinds.items())})"


def _open_spool(folder: Path | None) -> Spool:
    if folder is None:
        return Spool()
    try:
        return Spool(folder.absolute() / SPOOL)
    except TrackingError as error:
        log.warning("%s. This start keeps its entries in memory", error)
        return Spool()


def _advice_on_rest(path: Path | None) -> str:
    return f"They are kept in {path}. To do: mrigan track send {path.parent}" if path else "They are lost."


def _now() -> int:
    """Milliseconds since 1970, MLflow's unit."""
    return int(time.time() * 1000)


def _storable(value: float) -> float:
    value = float(value)
    return math.copysign(1.7976931348623157e308, value) if math.isinf(value) else value

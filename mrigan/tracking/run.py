"""One MLflow run a job. A training never waits for its tracking, nor dies of it, unless it is told to.

What is logged goes to a file in the run folder (`mrigan.tracking.spool`), and from there to MLflow by a thread
(`mrigan.tracking.sender`). What MLflow has not got when the job ends stays there: for the job's next start, or for
`mrigan track send`.
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
from mrigan.tracking.sender import Sender
from mrigan.tracking.spool import SPOOL, Spool
from mrigan.tracking.store import tracking_uri

log = logging.getLogger(__name__)

KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH = 250, 6000, 8000  # characters (MLflow's limits)
DATASET_LENGTH, DIGEST_LENGTH = 500, 36  # characters of its name and its digest (MLflow's limits)
START = 30.0  # seconds that a start waits for MLflow's first answer, so that the run's id is known
STOPPED = 10.0  # seconds that a run which will go on, or failed, has for what is still to be sent
SLOW = 10  # times the patience, for a store that takes what it gets, but slowly

TO_DO = "check the server, tracking.uri or MLFLOW_TRACKING_URI; tracking.enabled=false does without MLflow"


class Run:
    """A job's run in MLflow, used by global rank 0 alone; without a spool it does nothing.

    Attributes:
        uri: the store.
    """

    def __init__(self, spool: Spool | None = None, config: TrackingConfig | None = None) -> None:
        self._spool, self._config = spool, config or TrackingConfig()
        self.uri = spool.fact("uri") if spool is not None else ""
        self._id = ""
        self._ask_for_a_stop: Callable[[], None] = lambda: None
        self._failure = ""
        policy, patience = self._config.on_failure, self._config.patience
        gave_up = {"buffer": None, "stop": self._stop, "off": self._go_without}[policy]
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
        ask_for_a_stop: Callable[[], None] = lambda: None,
    ) -> Run:
        """Open a new run, or continue the one of `folder`, or `run_id`; one that the store has no more is replaced.

        Args:
            config: `enabled: false` gives a run that does nothing.
            run_name: shown in MLflow.
            params: the resolved config, nested or flat. MLflow gets it as params, and whole as `config.json`.
            tags: for instance `data_hash`. Mrigan's version, code version, command, commit and user are added.
            folder: where the spool lies; None = in memory, and what is not sent by the end is lost.
            ask_for_a_stop: called in another thread under `on_failure: stop`, when MLflow fails for too long.

        Raises:
            TrackingError: MLflow cannot be used, under `on_failure: stop`.
        """
        if not config.enabled:
            return cls()
        spool = _open_spool(folder)
        known = spool.fact("run_id") or run_id or ""
        spool.note(uri=tracking_uri(config.uri), experiment=config.experiment, name=run_name, run_id=known)
        if not spool.fact("started"):
            spool.note(started=str(_now()))
        run = cls(spool, config)
        run._ask_for_a_stop = ask_for_a_stop
        run._begin(params or {}, tags or {}, again=bool(known))
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
        self._sender.tried.wait(START)

    @property
    def id(self) -> str | None:
        """MLflow's run id; None where nothing is tracked, or as long as MLflow has never answered."""
        spool = self._spool
        return (spool.fact("run_id") if spool is not None else self._id) or None

    @property
    def active(self) -> bool:
        """Whether anything is being tracked, be it that it is kept to be sent later."""
        return self._spool is not None

    def check(self) -> None:
        """Under `on_failure: stop`, raise TrackingError once MLflow has failed for too long."""
        if self._failure:
            raise TrackingError(
                f"MLflow cannot be used: {self._failure}", where=self.uri, fix=f"{TO_DO}; then the same command"
            )

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log a config, nested or flat; MLflow keeps the first value of each key."""
        flat = {key[:KEY_LENGTH]: str(value)[:PARAM_LENGTH] for key, value in flatten(dict(params)).items()}
        self._add("params", flat)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; a value may change."""
        self._add("tags", {key[:KEY_LENGTH]: str(value)[:TAG_LENGTH] for key, value in tags.items()})

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log numbers of one step; a key's steps go up, and what was logged of a step before is left out.

        An infinite value becomes the largest float; NaN is kept.
        """
        spool = self._spool  # the sender's thread may give it up
        if spool is not None and self._sender is not None:
            values = {key[:KEY_LENGTH]: _storable(value) for key, value in metrics.items()}
            spool.add_metrics(values, step, _now())
            self._sender.wake()

    def log_artifact(self, path: str | Path, folder: str = "") -> None:
        """Keep a file, or a folder with all that is in it, under `folder` of the run's artifacts.

        It is read when it is sent, and must stay until then.
        """
        self._add("artifact", {"path": self._relative(path), "folder": folder})

    def log_json(self, data: Any, name: str) -> None:
        """Keep plain data as the JSON artifact `name`."""
        self._add("text", {"name": name, "text": json.dumps(data, indent=2, ensure_ascii=False, default=str)})

    def log_dataset(
        self, folders: Sequence[str | Path], split: str, digest: str, context: str, profile: Mapping[str, Any]
    ) -> None:
        """Show a split of shard folders among the run's data sets.

        Args:
            digest: the data hash. context: "training", "validation" or "evaluation". profile: counts, as plain data.
        """
        name = f"{', '.join(Path(folder).absolute().name for folder in folders)}: {split}"[:DATASET_LENGTH]
        where = ", ".join(str(Path(folder).absolute()) for folder in folders)
        body = {"name": name, "digest": digest[:DIGEST_LENGTH], "source": where, "context": context}
        self._add("dataset", {**body, "profile": dict(profile)})

    def register(self, folder: str | Path, name: str, tags: Mapping[str, Any]) -> None:
        """Have a model folder registered as the next version of `name`, once; see `mrigan.tracking.register`."""
        self._add("model", {"folder": self._relative(folder), "name": name, "tags": dict(tags)})

    def close(self, status: str = "FINISHED") -> None:
        """End the run: FINISHED, FAILED, or KILLED (a job that was stopped and will be resumed).

        Waits until all is sent, but not for ever (`tracking.patience`), and says what is left.
        """
        spool = self._spool
        if spool is None or self._sender is None:
            return
        spool.add("status", {"status": status, "time": _now()})
        patience = self._config.patience
        if status == "FINISHED":
            self._sender.finish(patience, max(SLOW * patience, STOPPED))
        else:
            self._sender.finish(min(patience, STOPPED), STOPPED)
        left = spool.kinds()
        if left:
            log.warning("MLflow (%s) has not got %s. %s", self.uri, in_words(left), _where_left(spool.path))
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
        """As seen from the run folder, which may be moved before all is sent."""
        path = Path(path).absolute()
        spool = self._spool
        home = spool.path.parent if spool is not None and spool.path else None
        return str(path.relative_to(home) if home is not None and path.is_relative_to(home) else path)

    def _stop(self, why: str) -> None:
        self._failure = why
        self._ask_for_a_stop()

    def _go_without(self, why: str) -> None:
        log.warning("MLflow (%s) is given up: this job goes on without it. To do: %s", self.uri, TO_DO)
        spool = self._spool
        if spool is not None:
            self._id, self._spool = spool.fact("run_id"), None
            spool.clear()
            spool.close()


def send(folder: str | Path, uri: str = "", patience: float = 30.0) -> tuple[int, str]:
    """Send what a run has kept in its folder, to the store that it was meant for or to `uri`.

    Args:
        patience: seconds to go on while the store fails.

    Returns:
        How many entries were sent, and MLflow's run id.

    Raises:
        TrackingError: nothing is kept there, a job has it open, or MLflow does not take all.
    """
    folder = Path(folder).absolute()
    if not (folder / SPOOL).is_file():
        raise TrackingError(
            f"no {SPOOL} in the folder: nothing is kept for MLflow", where=folder, fix="give the run.dir of a training"
        )
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
                f"MLflow has not got {in_words(left)}: {sender.failure or 'it takes no files'}",
                where=spool.fact("uri"),
                fix="check the server, or give another store by --uri; then the same command",
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
        log.warning("%s. This start keeps what it logs in memory", error)
        return Spool()


def _where_left(path: Path | None) -> str:
    return f"They are kept in {path}. To do: mrigan track send {path.parent}" if path else "They are lost."


def _now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(time.time() * 1000)


def _storable(value: float) -> float:
    value = float(value)
    return math.copysign(1.7976931348623157e308, value) if math.isinf(value) else value

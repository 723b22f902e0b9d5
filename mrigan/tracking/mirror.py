"""The thread that copies the log of a run to MLflow, each line once, even if the server fails often.

`tracking.json` in the run folder says which MLflow run it is, and what that run has. It may be late or lost: after a
connection the server is asked for the params and the last step of each metric, because a request without an answer may
have succeeded, and sending anything else again changes nothing. A run is created with a unique token as a tag, so that
it can be found if the creation got no answer.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrigan.errors import ModelError, MriganError, TrackingError
from mrigan.files import write_json
from mrigan.tracking.log import EVENTS, METRICS, START, LineLog
from mrigan.tracking.requests import find_or_create_run, is_refusal, log_row
from mrigan.tracking.store import existing_run, first_line, open_store, run_link, store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

STATE, LOCK = "tracking.json", ".tracking.lock"
MAX_METRICS, MAX_LINES = 1000, 50  # in one request (the first is MLflow's limit)
KEY_LENGTH = 250  # characters (MLflow's limit)
RETRY, MAX_RETRY, RETRY_AT_END = 0.5, 30.0, 1.0  # seconds between two attempts
POLL = 1.0  # seconds between two looks for new lines
FILES = ("artifact", "model")  # kinds of lines that need the artifact store; the others do not wait for them
TO_DO = "check the server, tracking.uri or MLFLOW_TRACKING_URI; or train without MLflow: tracking.enabled=false"


@dataclass
class MirrorState:
    """Which MLflow run it is, and what it has.

    Attributes:
        uri, experiment, name: of the run. started: ms since 1970.
        run_id: "" = it was not created, or the answer was lost: `token` may find it.
        events: the number of lines of tracking.jsonl that are done, but for `files`: those that are still to be sent.
        steps: the last step of each metric.
    """

    uri: str = ""
    experiment: str = ""
    name: str = ""
    started: int = 0
    run_id: str = ""
    token: str = ""
    events: int = 0
    files: list[int] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, about: Mapping[str, Any]) -> MirrorState:
        """The state in a run folder, with the values of `about`."""
        state = cls()
        try:
            state = cls(**json.loads((folder / STATE).read_bytes()))
        except FileNotFoundError:
            pass
        except (ValueError, TypeError) as error:
            log.warning("%s is damaged (%s): MLflow is asked what it has", folder / STATE, error)
        if state.run_id and about.get("uri", state.uri) != state.uri:
            state.forget_run()
        kept = {key: value for key in ("run_id", "started") if (value := getattr(state, key))}
        return replace(state, **{**about, **kept})

    def forget_run(self) -> None:
        """The next run has nothing yet."""
        self.run_id, self.events, self.files, self.steps = "", 0, [], {}

    def unsent(self, row: Mapping[str, Any]) -> dict[str, float]:
        """The numbers of a line of metrics.jsonl that MLflow does not have."""
        numbers = {key[:KEY_LENGTH]: x for key, x in row.items() if key not in ("step", "time") and x is not None}
        return {key: x for key, x in numbers.items() if row.get("step", -1) > self.steps.get(key, -1)}


class _RunDeleted(Exception):  # noqa: N818 - the thread connects again
    """MLflow has refused a line because it has the run no more."""


class Mirror:
    """Copies the log of a run folder to MLflow.

    Args:
        folder: of the run. It is locked: one process at a time sends.
        metrics: the log that this process writes.
        about: values of the state; a `run_id` or `started` that the folder has comes first.
        patience: seconds of failure after which `gave_up` is called.
        gave_up: called with the reason, then the thread ends; None = never give up.

    Attributes:
        tried: set after the first attempt to reach the store.
        failure: the present error of the store; "" = none.
        link: of the run's page.
    """

    def __init__(
        self,
        folder: Path,
        metrics: LineLog | None = None,
        about: Mapping[str, Any] | None = None,
        patience: float = 0.0,
        gave_up: Callable[[str], None] | None = None,
    ) -> None:
        self.folder, self._patience, self._gave_up = folder, patience, gave_up
        self._metrics, self._events = metrics or LineLog(folder / METRICS), LineLog(folder / EVENTS)
        self._about = dict(about or {})
        self.state = MirrorState(**self._about)
        self.tried = threading.Event()
        self.failure = self.link = ""
        self._ending = threading.Event()
        self._quit = False
        self._client: MlflowClient | None = None
        self._lock: int | None = None
        self._position = self._events_position = START  # in metrics.jsonl and tracking.jsonl
        self._rows: list[dict[str, Any]] = []  # of tracking.jsonl
        self._params: dict[str, str] = {}  # that the server has
        self._failing_since = self._files_failing_since = self._files_again = 0.0  # time.monotonic()
        self._begun = time.time()  # the time of lines of an earlier version, which have none
        self._attempts = self._file_attempts = 0  # failed ones in a row
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def open(self) -> None:
        """Lock the folder and read the state.

        Raises:
            TrackingError: another process sends this run.
        """
        if self._lock is None:
            # A POSIX record lock: forked loader workers, which outlive a kill -9, do not inherit it.
            lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                fix = "wait for the job or the `mrigan track send`"
                raise TrackingError("another process sends this run", where=self.folder, fix=fix) from None
            self._lock, self.state = lock, MirrorState.load(self.folder, self._about)
            self._save()

    def start(self) -> None:
        self._thread.start()

    def finish(self, failing: float, total: float) -> None:
        """Send the remaining lines, and end.

        Args:
            failing: seconds to retry while the store fails. total: seconds in all.
        """
        begin, self._files_again = time.monotonic(), 0.0
        self._ending.set()
        while self._thread.is_alive():
            now = time.monotonic()
            since = [self._failing_since] * bool(self.failure) + [self._files_failing_since] * bool(self._file_attempts)
            if now - begin >= total or any(now - max(start, begin) >= failing for start in since):
                break
            self._thread.join(0.05)
        self._quit = True

    def close(self) -> None:
        """Unlock the folder; the thread ends when its request does."""
        self._quit = True
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def left(self) -> dict[str, int]:
        """The number of lines that are not sent, by kind."""
        state, events = self.state, self._events.read()[0]
        kinds = Counter(row["kind"] for row in [*(events[i] for i in state.files), *events[state.events :]])
        metrics = sum(bool(state.unsent(row)) for row in self._metrics.read()[0])
        return {**({"metrics": metrics} if metrics else {}), **kinds}

    def _work(self) -> None:
        failures: tuple[type[Exception], ...] = (*store_errors(), MriganError)
        while not self._quit:
            ending = self._ending.is_set()  # then the log is complete
            try:
                if self._client is None:
                    self.open()
                    self._connect()
                self.tried.set()
                busy = self._send_metrics() or self._send_event() or self._send_file()
            except _RunDeleted:
                self._client = None
                continue
            except failures as error:
                if self._quit or self._failed(first_line(error)):
                    return
                continue
            if self.failure:
                log.info("MLflow answers again, after %.0f s", time.monotonic() - self._failing_since)
            self.failure, self._attempts = "", 0
            if not busy:
                if ending and not self.state.files:
                    return
                self._wait(POLL)

    def _failed(self, why: str) -> bool:
        """Log the failure once, and wait. Returns whether to give up."""
        self._client = None
        if not self.failure:
            self._failing_since = time.monotonic()
            log.warning("MLflow cannot be used (%s: %s): training continues; what it logs is kept and sent later. "
                        "To do: %s", self.state.uri, why, TO_DO)  # fmt: skip
        first, self.failure = not self.tried.is_set(), why
        if self._gave_up is not None and (first or time.monotonic() - self._failing_since >= self._patience):
            self._gave_up(why)
            self.tried.set()
            return True
        self.tried.set()
        self._wait(self._pause(self._attempts))
        self._attempts += 1
        return False

    def _wait(self, seconds: float) -> None:
        """Only the end of the job ends the wait early."""
        if not self._ending.is_set():
            self._ending.wait(seconds)
        elif not self._quit:
            time.sleep(min(seconds, RETRY_AT_END))

    def _pause(self, attempts: int) -> float:
        """Seconds until the next attempt."""
        return min(RETRY * 2 ** min(attempts, 10), RETRY_AT_END if self._ending.is_set() else MAX_RETRY)

    def _save(self) -> None:
        if self._lock is not None and self.folder.is_dir():  # else it is another process's, or gone
            write_json(self.folder / STATE, asdict(self.state))

    def _connect(self) -> None:
        """Find or create the run, and ask the server for its params and the last step of each metric."""
        state, client = self.state, open_store(self.state.uri)
        run = existing_run(client, state.run_id) if state.run_id else None
        if run is None:
            if state.run_id:
                log.warning("MLflow has no run %s in %s: starting a new run", state.run_id, state.uri)
                state.forget_run()
            state.token = state.token or uuid.uuid4().hex
            self._save()
            run = find_or_create_run(client, state.experiment, state.name, state.token, state.started)
        state.run_id, state.token = run.info.run_id, ""
        for metric in run.data.to_proto().metrics:
            state.steps[metric.key] = max(metric.step, state.steps.get(metric.key, -1))
        self._save()
        link = run_link(state.uri, run.info.experiment_id, run.info.run_id)
        if link != self.link:
            log.info("MLflow run: %s", link)
        self.link, self._params, self._position, self._client = link, dict(run.data.params), START, client

    def _send_metrics(self) -> bool:
        """Send the next lines of metrics.jsonl; returns whether there were any."""
        rows, after = self._metrics.read(self._position, MAX_LINES)
        if rows:
            self._send_rows(rows)
            self._position = after
        return bool(rows)

    def _send_rows(self, rows: list[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        assert self._client is not None
        new = {(key, row["step"]): Metric(key, value, int(1000 * row.get("time", self._begun)), row["step"])
               for row in reversed(rows) for key, value in self.state.unsent(row).items()}  # fmt: skip
        batch = sorted(new.values(), key=lambda metric: metric.step)
        for start in range(0, len(batch), MAX_METRICS):
            part = batch[start : start + MAX_METRICS]
            try:
                self._client.log_batch(self.state.run_id, metrics=part)
            except store_errors() as error:
                self._raise_unless_refused(error)
                if len(rows) > 1:  # one by one, to find the wrong line
                    for row in rows:
                        self._send_rows([row])
                    return
                log.warning("MLflow refused metrics of step %s: %s", rows[0]["step"], first_line(error))
            self.state.steps |= {metric.key: metric.step for metric in part}
            self._save()

    def _send_event(self) -> bool:
        """Send the next line of tracking.jsonl, a file later; returns whether there was any."""
        state = self.state
        rows, self._events_position = self._events.read(self._events_position)
        self._rows += rows
        if state.events == len(self._rows):
            return False
        if self._rows[state.events]["kind"] in FILES:
            state.files.append(state.events)
        else:
            self._send_row(self._rows[state.events])
        state.events += 1
        self._save()
        return True

    def _send_file(self) -> bool:
        """Send the next file or model; returns whether it did. One that fails waits behind the others."""
        files = self.state.files
        if not files or time.monotonic() < self._files_again:
            return False
        row = self._rows[files[0]]
        try:
            self._send_row(row)
        except store_errors() as error:
            if not self._file_attempts:
                self._files_failing_since = time.monotonic()
                log.warning("MLflow did not accept %s (%s); trying again later", row["path"], first_line(error))
            self._files_again = time.monotonic() + self._pause(self._file_attempts)
            self._file_attempts += 1
            self._client = None  # connecting again shows whether all of MLflow fails, or only its artifact store
            files.append(files.pop(0))
        else:
            self._file_attempts = 0
            files.pop(0)
        self._save()
        return True

    def _send_row(self, row: Mapping[str, Any]) -> None:
        assert self._client is not None
        failures: tuple[type[Exception], ...] = (*store_errors(), ModelError)
        try:
            log_row(self._client, self.state.run_id, row, self.folder, self._params)
        except failures as error:
            self._raise_unless_refused(error)
            name = row.get("name") or row.get("path") or row["kind"]
            log.warning("MLflow refused %s %s: %s", row["kind"], name, first_line(error))

    def _raise_unless_refused(self, error: Exception) -> None:
        """Raise an error after which another attempt may help."""
        assert self._client is not None
        if not is_refusal(error):
            raise error
        if existing_run(self._client, self.state.run_id) is None:
            raise _RunDeleted

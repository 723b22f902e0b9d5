"""The thread that sends the entries of the spool to MLflow, in order and each once, even if the server fails often.

After a failure it first asks the server what it has, because a request without an answer may have succeeded. Each run
is created with a unique token as a tag, so that a run whose creation got no answer can be found.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrigan.errors import ModelError
from mrigan.tracking.registry import register_version
from mrigan.tracking.spool import Entry, Spool
from mrigan.tracking.store import experiment_id, open_store, run_link, store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

MAX_BATCH = 100  # params or tags in one request (MLflow's limit)
MAX_METRICS = 1000  # in one request (MLflow's limit)
MAX_ENTRIES = 50  # of metrics in one request
RETRY, MAX_RETRY, RETRY_AT_END = 0.5, 30.0, 1.0  # seconds between two attempts
TOKEN = "mrigan.token"  # a tag of the run that identifies its creation
# MLflow's error codes that mean that the entry is wrong: another attempt would not help.
REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE", "MALFORMED_REQUEST")
FILES = ("artifact", "text", "model")  # kinds that need the artifact store; metrics do not wait for them
TO_DO = "check the server, tracking.uri or MLFLOW_TRACKING_URI; or train without MLflow: tracking.enabled=false"


class Sender:
    """Sends the entries of a spool.

    Entries: `metrics` {step, time, values}, `params` and `tags` {key: value}, `artifact` {path, folder}, `text` {name,
    text}, `status` {status, time}, `model` {folder, name, tags}, `dataset` {name, digest, source, context, profile}.
    Relative paths start at the run folder.

    Args:
        spool: with the facts `uri`, `experiment`, `name`, `started` (ms since 1970), and `run_id` if there is a run.
        patience: seconds of failure after which `gave_up` is called.
        gave_up: called with the reason, then the thread ends; None = never give up.

    Attributes:
        tried: set after the first attempt to reach the store.
        failure: the present error of the store; "" = none.
    """

    def __init__(self, spool: Spool, patience: float = 0.0, gave_up: Callable[[str], None] | None = None) -> None:
        self._spool, self._patience, self._gave_up = spool, patience, gave_up
        self.tried = threading.Event()
        self.failure = ""
        self.failing_since = 0.0  # time.monotonic()
        self._news = threading.Condition()
        self._closing = self._quit = False
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._params: dict[str, str] = {}  # that the server has
        self._steps: dict[str, int] = {}  # metric → the last step that the server has
        self._refused_id = 0  # of the entry that was refused last
        self._attempts = 0  # failed ones in a row
        self._file_attempts = 0  # failed ones of files, while other entries are accepted
        self._files_since = self._files_again = 0.0  # time.monotonic(): failing since, next attempt at
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Tell the thread that there is a new entry."""
        with self._news:
            self._news.notify()

    def finish(self, failing: float, total: float) -> None:
        """Send the remaining entries, and end.

        Args:
            failing: seconds to retry while the store fails. total: seconds in all.
        """
        self._closing, self._files_again = True, 0.0
        self.wake()
        begin = time.monotonic()
        while self._thread.is_alive():
            now = time.monotonic()
            stuck = (self.failure and now - max(self.failing_since, begin) >= failing) or (
                self._file_attempts and now - max(self._files_since, begin) >= failing
            )
            if stuck or now - begin >= total:
                break
            self._thread.join(0.05)
        self._quit = True
        self.wake()

    def _work(self) -> None:
        failures: tuple[type[Exception], ...] = (*store_errors(), sqlite3.Error)
        while not self._quit:
            try:
                if self._client is None:
                    self._connect()
                self.tried.set()
                entries = self._next()
                if entries:
                    self._send(entries)
            except failures as error:
                if self._quit or self._failed(first_line(error)):
                    return
                continue
            if self.failure:
                log.info("MLflow answers again, after %.0f s", time.monotonic() - self.failing_since)
            self.failure, self._attempts = "", 0
            if not entries:
                if self._closing and not self._spool.first(1):
                    return
                with self._news:
                    self._news.wait(RETRY_AT_END)  # limited, because a wake-up may come before the wait

    def _failed(self, why: str) -> bool:
        """Log the failure once, and wait. Returns whether to give up."""
        self._client = None
        if not self.failure:
            self.failing_since = time.monotonic()
            log.warning(
                "MLflow cannot be used (%s: %s): training continues; log entries are kept and sent later. To do: %s",
                self._spool.fact("uri"),
                why,
                TO_DO,
            )
        first = not self.tried.is_set()
        self.failure = why
        if self._gave_up is not None and (first or time.monotonic() - self.failing_since >= self._patience):
            self._gave_up(why)
            self.tried.set()
            return True
        self.tried.set()
        self._spool.sync()
        pause = min(RETRY * 2 ** min(self._attempts, 10), MAX_RETRY)
        self._attempts += 1
        with self._news:
            if self._closing:
                self._news.wait(min(pause, RETRY_AT_END))
            else:
                self._pause(pause)
        return False

    def _pause(self, seconds: float) -> None:
        """Wait; only the end of the job, not a new entry, ends the wait early."""
        until = time.monotonic() + seconds
        while not (self._closing or self._quit) and (left := until - time.monotonic()) > 0:
            self._news.wait(left)

    def _connect(self) -> None:
        """Find or create the run, and ask the server for the run's params and metrics."""
        spool = self._spool
        client = open_store(spool.fact("uri"))
        run_id = spool.fact("run_id")
        run = existing_run(client, run_id) if run_id else None
        if run is None:
            if run_id:
                log.warning("MLflow has no run %s in %s: starting a new run", run_id, spool.fact("uri"))
            run = self._find_or_create(client)
            spool.note(run_id=run.info.run_id, making="")
        self._log_link(run)
        self._run_id = run.info.run_id
        self._params = dict(run.data.params)
        self._steps = {metric.key: metric.step for metric in run.data.to_proto().metrics}
        self._client = client

    def _log_link(self, run: Any) -> None:
        """Log the link of the run's page once, and store it for the end of the job."""
        link = run_link(self._spool.fact("uri"), run.info.experiment_id, run.info.run_id)
        if not self._run_id:
            log.info("MLflow run: %s", link)
        self._spool.note(link=link)

    def _find_or_create(self, client: MlflowClient) -> Any:
        spool = self._spool
        experiment = experiment_id(client, spool.fact("experiment"))
        token = spool.fact("making")
        if token:  # an earlier attempt got no answer
            runs = client.search_runs([experiment], f"tags.`{TOKEN}` = '{token}'", order_by=["start_time"])
            if runs:
                return runs[0]
        else:
            token = uuid.uuid4().hex
            spool.note(making=token)
        return client.create_run(
            experiment, start_time=int(spool.fact("started")), tags={TOKEN: token}, run_name=spool.fact("name")
        )

    def _next(self) -> list[Entry]:
        """The next entry, or the next entries of metrics; after a refusal one by one, to find the wrong entry."""
        held = FILES if time.monotonic() < self._files_again else ()
        entries = self._spool.first(1 if self._refused_id else MAX_ENTRIES, without=held)
        if not entries or entries[0].kind != "metrics":
            return entries[:1]
        chosen: list[Entry] = []
        count = 0
        for entry in entries:
            count += len(entry.body.get("values", ()))
            if entry.kind != "metrics" or (chosen and count > MAX_METRICS):
                break
            chosen.append(entry)
        return chosen

    def _send(self, entries: list[Entry]) -> None:
        first = entries[0]
        failures: tuple[type[Exception], ...] = (*store_errors(), ModelError)
        try:
            if first.kind == "metrics":
                self._send_metrics(entries)
            else:
                self._send_one(first)
        except failures as error:
            if not _refused(error):
                if first.kind not in FILES:
                    raise
                self._hold_files(first, first_line(error))
                return
            if self._refused_id != first.id:  # the run may have been deleted: connect again, and send this entry alone
                self._refused_id, self._client = first.id, None
                return
            log.warning("MLflow refused %s: %s", _describe(first), first_line(error))
        self._refused_id = 0
        self._spool.remove(entries)
        if first.kind in FILES:
            self._file_attempts = 0

    def _hold_files(self, entry: Entry, why: str) -> None:
        """Postpone a file. The next request shows whether all of MLflow fails, or only its artifact store."""
        if not self._file_attempts:
            self._files_since = time.monotonic()
            log.warning("MLflow did not accept %s (%s); trying again later", _describe(entry), why)
        pause = min(RETRY * 2 ** min(self._file_attempts, 10), RETRY_AT_END if self._closing else MAX_RETRY)
        self._files_again = time.monotonic() + pause
        self._file_attempts += 1
        self._client = None
        self._spool.put_last(entry)

    def _send_metrics(self, entries: list[Entry]) -> None:
        from mlflow.entities import Metric

        assert self._client is not None
        batch = [
            Metric(key, value, entry.body["time"], entry.body["step"])
            for entry in entries
            for key, value in entry.body["values"].items()
            if entry.body["step"] > self._steps.get(key, -1)
        ]
        for start in range(0, len(batch), MAX_METRICS):
            self._client.log_batch(self._run_id, metrics=batch[start : start + MAX_METRICS])
        for metric in batch:
            self._steps[metric.key] = metric.step

    def _send_one(self, entry: Entry) -> None:
        from mlflow.entities import Param, RunTag

        client, run, body = self._client, self._run_id, entry.body
        assert client is not None
        if entry.kind == "params":
            new = [Param(key, value) for key, value in body.items() if key not in self._params]
            for start in range(0, len(new), MAX_BATCH):
                client.log_batch(run, params=new[start : start + MAX_BATCH])
            self._params |= body  # params in MLflow cannot be changed
        elif entry.kind == "tags":
            tags = [RunTag(key, value) for key, value in body.items()]
            for start in range(0, len(tags), MAX_BATCH):
                client.log_batch(run, tags=tags[start : start + MAX_BATCH])
        elif entry.kind == "artifact":
            path = self._path(body["path"])
            if path.is_dir():
                client.log_artifacts(run, str(path), "/".join(filter(None, (body["folder"], path.name))))
            elif path.is_file():
                client.log_artifact(run, str(path), body["folder"] or None)
            else:
                log.warning("%s does not exist any more, so it is not sent to MLflow", path)
        elif entry.kind == "dataset":
            client.log_inputs(run, datasets=[_dataset_input(body)])
        elif entry.kind == "text":
            client.log_text(run, body["text"], body["name"])
        elif entry.kind == "model":
            name = body["name"]
            version = register_version(client, self._path(body["folder"]), name, run, body["tags"])
            log.info("registered as %s version %d, candidate", name, version)
        elif body["status"] == "RUNNING":
            client.update_run(run, status="RUNNING")
        else:
            client.set_terminated(run, body["status"], body["time"])

    def _path(self, text: str) -> Path:
        here = self._spool.path.parent if self._spool.path else Path()
        return here / text


def _dataset_input(body: dict[str, Any]) -> Any:
    """A data set in MLflow's types."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source, profile = json.dumps({"uri": body["source"]}), json.dumps(body["profile"])
    dataset = Dataset(body["name"], body["digest"], source_type="local", source=source, profile=profile)
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", body["context"])])


def existing_run(client: MlflowClient, run_id: str) -> Any:
    """The run; None if the store does not have it, or has it as deleted."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _refused(error: Exception) -> bool:
    return isinstance(error, ModelError) or getattr(error, "error_code", "") in REFUSED


def _describe(entry: Entry) -> str:
    body = entry.body
    names = {"metrics": f"metrics of step {body.get('step')}", "artifact": body.get("path"), "text": body.get("name"),
             "model": f"the model {body.get('name')}"}  # fmt: skip
    return str(names.get(entry.kind, entry.kind))

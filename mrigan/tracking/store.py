"""Where MLflow keeps its runs: one way to find the store, to open it quietly, and to fail soon when it is not there."""

from __future__ import annotations

import fcntl
import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"

# A store that is down must cost seconds, not the minutes of MLflow's own retries: a training tries again by itself. And
# a tool that judges private videos tells nobody that it runs.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def tracking_uri(uri: str = "") -> str:
    """The store in use: `uri` if given, else `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder.

    The path of an sqlite file is made absolute, so that a later change of folder means no other file.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "") or DEFAULT_URI
    database = sqlite_file(uri)
    return uri if database is None else f"sqlite:///{database}"


def open_store(uri: str = "") -> MlflowClient:
    """An MLflow client for `tracking_uri(uri)`."""
    for key, value in _DEFAULTS.items():
        os.environ.setdefault(key, value)
    _quieten()
    import mlflow

    _quieten()  # MLflow sets its own level when it is imported
    uri = tracking_uri(uri)
    with _first_open(uri):
        return mlflow.MlflowClient(uri)


def _quieten() -> None:
    """Keep MLflow and Alembic, which makes MLflow's tables, to warnings. Alembic already logs when it is imported."""
    if "MLFLOW_LOGGING_LEVEL" not in os.environ:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)


def run_link(uri: str, experiment: str, run_id: str) -> str:
    """Where a person looks at a run: its page on the server, or the command that shows an sqlite store.

    Args:
        uri: the store. experiment: the experiment's id.
    """
    page = f"/#/experiments/{experiment}/runs/{run_id}"
    if uri.startswith(("http://", "https://")):
        return uri.rstrip("/") + page
    return f"http://127.0.0.1:5000{page} after: mlflow ui --backend-store-uri {shlex.quote(uri)}"


def store_exists(uri: str) -> bool:
    """Whether there may be something in the store: to look into an sqlite file that is not there would make it."""
    database = sqlite_file(uri)
    return database is None or database.is_file()


@contextmanager
def default_store(uri: str) -> Iterator[None]:
    """Make `uri` the process's store for the calls of MLflow that take none; afterwards all is as it was.

    MLflow writes it into the environment too, where it would outlive the call and seem to be the user's wish.
    """
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None = unset


def experiment_id(client: MlflowClient, name: str) -> str:
    """The id of the experiment called `name`, made when there is none.

    For an sqlite file the artifacts lie in `mlruns/` beside it, wherever the command was started.
    """
    with _first_open(client.tracking_uri):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            database = sqlite_file(client.tracking_uri)
            beside = None if database is None else (database.parent / "mlruns" / quote(name, safe="")).as_uri()
            return client.create_experiment(name, artifact_location=beside)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return experiment.experiment_id


def store_errors() -> tuple[type[Exception], ...]:
    """What MLflow raises when a store is missing, refused, locked or unreachable."""
    _quieten()
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, CommandError, OSError


def sqlite_file(uri: str) -> Path | None:
    """The absolute path of an sqlite store's file; None for a store of another kind, or in memory."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or uri == prefix:
        return None
    return Path(uri.removeprefix(prefix)).absolute()


@contextmanager
def _first_open(uri: str) -> Iterator[None]:
    """Let one process at a time make the tables of an sqlite file: two that do it at once break each other."""
    database = sqlite_file(uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(database.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)

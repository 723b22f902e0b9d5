"""Find and open MLflow's store, without log noise, and fail fast if it is unreachable."""

from __future__ import annotations

import fcntl
import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"

# Fail within seconds instead of minutes of MLflow's retries: training retries by itself. No telemetry: the videos that
# Mrigan judges may be private.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def tracking_uri(uri: str = "") -> str:
    """The store in use: `uri` if given, else `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder.

    The path of an sqlite file is made absolute, so that it does not depend on later changes of the folder.
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

    _quieten()  # MLflow sets its log level when it is imported
    uri = tracking_uri(uri)
    with _first_open(uri):
        return mlflow.MlflowClient(uri)


def _quieten() -> None:
    """Set MLflow and Alembic (MLflow's database migrations) to log warnings only. Alembic logs when it is imported."""
    if "MLFLOW_LOGGING_LEVEL" not in os.environ:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)


def run_link(uri: str, experiment: str, run_id: str) -> str:
    """How to see a run: its page on the server, or the command that shows an sqlite store.

    Args:
        uri: the store. experiment: the experiment's id.
    """
    page = f"/#/experiments/{experiment}/runs/{run_id}"
    if uri.startswith(("http://", "https://")):
        return uri.rstrip("/") + page
    return f"http://127.0.0.1:5000{page} after: mlflow ui --backend-store-uri {shlex.quote(uri)}"


def store_exists(uri: str) -> bool:
    """False for an sqlite file that does not exist: opening it would create it. True for other stores."""
    database = sqlite_file(uri)
    return database is None or database.is_file()


@contextmanager
def default_store(uri: str) -> Iterator[None]:
    """Make `uri` the process's store for MLflow calls without a `uri` argument; restores the old store afterwards.

    MLflow also writes it into the environment, where it would look like a setting of the user.
    """
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None = unset


def experiment_id(client: MlflowClient, name: str) -> str:
    """The id of the experiment `name`; it is created if it does not exist.

    For an sqlite file, the artifacts are in `mlruns/` beside it, independent of the current folder.
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


def store_errors() -> tuple[type[Exception], ...]:
    """The exceptions of MLflow for a store that is missing, refused, locked or unreachable."""
    _quieten()
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, CommandError, OSError


def first_line(error: Exception) -> str:
    """The first line of an error of MLflow, which may quote whole pages."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def sqlite_file(uri: str) -> Path | None:
    """The absolute path of an sqlite store's file; None for a store of another kind, or in memory."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or uri == prefix:
        return None
    return Path(uri.removeprefix(prefix)).absolute()


@contextmanager
def _first_open(uri: str) -> Iterator[None]:
    """Let only one process at a time create the tables of an sqlite file, because two at once fail."""
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

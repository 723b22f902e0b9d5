"""A check that MLflow can be reached and written."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mrigan.finding import Finding, ok, warning
from mrigan.tracking.store import experiment_id, first_line, open_store, store_errors, tracking_uri

EXPERIMENT = "mrigan-doctor"
FIX = "check tracking.uri or MLFLOW_TRACKING_URI. Training would keep its log entries, and send them later"


def check_tracking(uri: str = "") -> Iterator[Finding]:
    """Use the store as a training would.

    An SQLite file is locked and released; on a server, a run with one file is written and deleted. A failure is only a
    warning, because training continues without MLflow.
    """
    uri = tracking_uri(uri)
    if uri.startswith("sqlite:///"):
        yield _sqlite(uri)
        return
    try:
        client = open_store(uri)
        run = client.create_run(experiment_id(client, EXPERIMENT), run_name="doctor")
        client.log_metric(run.info.run_id, "doctor", 1.0)
        client.log_text(run.info.run_id, "written by mrigan doctor", "doctor.txt")
        client.delete_run(run.info.run_id)
    except store_errors() as error:
        yield warning("mlflow", f"{uri} does not answer, or refuses: {first_line(error)}", FIX)
        return
    yield ok("mlflow", f"{uri}: a run with a file was written and deleted (experiment {EXPERIMENT})")


def _sqlite(uri: str) -> Finding:
    path = Path(uri.removeprefix("sqlite:///"))
    if not path.is_file():
        above = next(folder for folder in path.absolute().parents if folder.exists())
        if os.access(above, os.W_OK | os.X_OK):
            return ok("mlflow", f"{uri} will be created")
        return warning("mlflow", f"{path} does not exist, and {above} cannot be written", FIX)
    refused: tuple[type[Exception], ...] = (sqlite3.Error, *store_errors())
    try:
        connection = sqlite3.connect(path, timeout=5, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
        runs = open_store(uri).search_experiments()
    except refused as error:
        return warning("mlflow", f"{path} cannot be written: {first_line(error)}", FIX)
    return ok("mlflow", f"{uri}: {len(runs)} experiments; can be written by one job at a time (for more, use a server)")

"""The registered models of an sqlite store, read from its file: a hundredth of what importing MLflow costs.

Only what a verdict needs: which model an alias means, and the local folder that holds it. Wherever the answer is not
plain (a server, tables of another form, files that are elsewhere) there is none, and MLflow itself is asked.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

from mrigan.tracking.store import sqlite_file, tracking_uri

QUESTION = """
    SELECT a.name, a.alias, v.storage_location FROM registered_model_aliases AS a
    JOIN model_versions AS v ON v.name = a.name AND v.version = a.version
    WHERE v.current_stage = 'None' AND v.status = 'READY'
"""
PATIENCE = 5.0  # seconds for the lock of somebody who writes
WORKSPACE = "MLFLOW_WORKSPACE"


def aliased(uri: str = "") -> Mapping[tuple[str, str], Path] | None:
    """(name, alias) → the folder with the model's artifacts, of every alias in the store.

    Returns:
        None where MLflow must be asked.
    """
    database = sqlite_file(tracking_uri(uri))
    if database is None or os.environ.get(WORKSPACE):
        return None
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
            rows = connection.execute(QUESTION).fetchall()
    except sqlite3.Error:
        return None
    found = {(str(name), str(alias)): _local(location) for name, alias, location in rows}
    if len(found) < len(rows):  # one name in two workspaces
        return None
    known = {key: folder for key, folder in found.items() if folder is not None}
    return known if len(known) == len(found) else None


def _local(location: object) -> Path | None:
    """The folder that a store names, None unless it is there on this machine."""
    if not isinstance(location, str):
        return None
    parts = urlparse(location)
    if parts.scheme not in ("", "file") or parts.netloc:
        return None
    folder = Path(unquote(parts.path)) if parts.scheme else Path(location)
    return folder if folder.is_absolute() and folder.is_dir() else None

"""Runs of earlier versions: their unsent entries for MLflow are in `tracking.db`, an SQLite file."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from mrigan.errors import TrackingError
from mrigan.files import atomic_write, write_json, write_text
from mrigan.tracking.log import EVENTS
from mrigan.tracking.mirror import STATE

log = logging.getLogger(__name__)

QUEUE = "tracking.db"
FACTS = {"uri": "uri", "experiment": "experiment", "name": "name", "run_id": "run_id", "making": "token"}


def take_over(folder: Path) -> None:
    """Turn the queue of an earlier version into the files of this one; does nothing without a queue.

    Its metrics are in metrics.jsonl, too. It may be killed at any moment and repeated: the queue is removed last, and
    a line that is there twice changes nothing.

    Raises:
        TrackingError: another process has the queue open.
    """
    path = folder / QUEUE
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path)) as queue:
            facts = dict(queue.execute("SELECT key, value FROM facts"))
            entries = queue.execute("SELECT kind, body FROM entries WHERE kind != 'metrics' ORDER BY id").fetchall()
        rows = [_row(folder, kind, json.loads(body)) for kind, body in entries]
    except sqlite3.OperationalError as error:
        fix = "wait for the job or the `mrigan track send` that has it open"
        raise TrackingError(f"the entries for MLflow cannot be read: {error}", where=path, fix=fix) from None
    except (sqlite3.DatabaseError, ValueError) as error:
        log.warning("%s is damaged (%s); renamed to %s.damaged", path, error, QUEUE)
        path.rename(path.with_name(f"{QUEUE}.damaged"))
        return
    newer = (folder / EVENTS).read_bytes() if (folder / EVENTS).is_file() else b""
    with atomic_write(folder / EVENTS) as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows).encode() + newer)
    state = {key: facts[fact] for fact, key in FACTS.items() if fact in facts}
    write_json(folder / STATE, {**state, "started": int(facts.get("started", 0))})
    for name in (f"{QUEUE}-wal", f"{QUEUE}-journal", QUEUE):
        (folder / name).unlink(missing_ok=True)


def _row(folder: Path, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """An entry of the queue as a line of tracking.jsonl."""
    if kind in ("params", "tags"):
        return {"kind": kind, kind: body}
    if kind == "text":
        if not (folder / body["name"]).exists():
            write_text(folder / body["name"], body["text"])
        return {"kind": "artifact", "path": body["name"], "folder": ""}
    if kind == "model":
        body["path"] = body.pop("folder")
    if "time" in body:
        body["time"] /= 1000
    return {"kind": kind, **body}

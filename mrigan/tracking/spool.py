"""The queue of entries for MLflow, in one SQLite file in the run folder. It survives kill -9.

Training adds entries and never waits for a server; the sender (`mrigan.tracking.sender`) sends and removes them. The
file also stores the last step of each metric: a resumed job repeats the steps after its checkpoint, and their metrics
must not be sent twice.

Only one process at a time has the file open. After each entry the write-ahead log is in the page cache, so it survives
the process. While the server fails, the sender syncs it, so that it survives a power loss too.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrigan.errors import TrackingError
from mrigan.files import failpoint

log = logging.getLogger(__name__)

SPOOL = "tracking.db"  # in the run folder
MAX_BYTES = 64 * 2**20  # of entries; with more, metrics are dropped, but `metrics.jsonl` has them
MAX_LOCK_WAIT = 5.0  # seconds to wait for another process that has the file open
_TABLES = """
    CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS marks (key TEXT PRIMARY KEY, step INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Entry:
    """An entry to send; for the `body` of each `kind` see `Sender`."""

    id: int
    kind: str
    body: dict[str, Any]
    size: int  # characters


class Spool:
    """The queue, used by the training's thread and the sender's thread.

    Args:
        path: the file; None = in memory. A damaged file is renamed to `<name>.damaged`, and a new file is created.

    Raises:
        TrackingError: another process has the file open.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._closed = self._full = False
        try:
            self._db = _open(path)
        except sqlite3.OperationalError as error:
            raise TrackingError(
                f"the file of unsent entries for MLflow cannot be opened: {error}",
                where=path,
                fix="wait for the job or the `mrigan track send` that has it open",
            ) from None
        except sqlite3.DatabaseError as error:
            assert path is not None
            damaged = path.with_name(f"{path.name}.damaged")
            log.warning("%s is damaged (%s); renamed to %s", path, error, damaged)
            os.replace(path, damaged)
            for beside in ("-wal", "-journal"):
                path.with_name(path.name + beside).unlink(missing_ok=True)
            self._db = _open(path)
        self._marks: dict[str, int] = dict(self._db.execute("SELECT key, step FROM marks"))
        [(self._size,)] = self._db.execute("SELECT coalesce(sum(length(body)), 0) FROM entries")

    def add(self, kind: str, body: Mapping[str, Any]) -> None:
        """Append an entry. On a disk error the entry is lost and a warning is logged; the caller continues."""
        self._append(kind, json.dumps(body, ensure_ascii=False, default=str), {})

    def add_metrics(self, values: Mapping[str, float], step: int, milliseconds: int) -> None:
        """Append numbers of one step, without metrics that already have this step or a later one."""
        new = {key: value for key, value in values.items() if step > self._marks.get(key, -1)}
        if not new:
            return
        body = json.dumps({"step": step, "time": milliseconds, "values": new})
        if self._size + len(body) > MAX_BYTES:
            if not self._full:
                log.warning("%s is full (%d MiB): further metrics are dropped", self._name, MAX_BYTES >> 20)
            self._full = True
            return
        if self._append("metrics", body, dict.fromkeys(new, step)):
            self._marks.update(dict.fromkeys(new, step))

    def first(self, count: int, without: Sequence[str] = ()) -> list[Entry]:
        """The oldest entries, without entries of some kinds."""
        marks = ", ".join("?" * len(without))
        query = f"SELECT id, kind, body FROM entries WHERE kind NOT IN ({marks}) ORDER BY id LIMIT ?"
        rows = self._do(query, *without, count)
        return [Entry(number, kind, json.loads(body), len(body)) for number, kind, body in rows]

    def remove(self, entries: list[Entry]) -> None:
        """Remove entries that were sent or refused."""
        numbers = [entry.id for entry in entries]
        self._do(f"DELETE FROM entries WHERE id IN ({', '.join('?' * len(numbers))})", *numbers)
        self._size -= sum(entry.size for entry in entries)
        self._full = False

    def put_last(self, entry: Entry) -> None:
        """Move an entry to the end of the queue."""
        self._do("UPDATE entries SET id = (SELECT max(id) + 1 FROM entries) WHERE id = ?", entry.id)

    def clear(self) -> None:
        """Remove all entries."""
        self._do("DELETE FROM entries")
        self._size = 0

    def kinds(self) -> dict[str, int]:
        """The number of entries by kind."""
        return dict(self._do("SELECT kind, count(*) FROM entries GROUP BY kind"))

    def fact(self, key: str) -> str:
        """The stored value of a fact; "" = none."""
        rows = self._do("SELECT value FROM facts WHERE key = ?", key)
        return rows[0][0] if rows else ""

    def note(self, **facts: str) -> None:
        """Store facts about the run; existing values are replaced."""
        for key, value in facts.items():
            self._do("INSERT OR REPLACE INTO facts VALUES (?, ?)", key, value)

    def sync(self) -> None:
        """Sync the entries to disk, so that they survive a power loss."""
        if self.path is None:
            return
        try:
            # Only the log: closing a descriptor of the database file would release SQLite's lock.
            descriptor = os.open(f"{self.path}-wal", os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._closed = True
            self._db.close()

    @property
    def _name(self) -> str:
        return str(self.path or "the queue for MLflow")

    def _do(self, query: str, *values: Any) -> list[Any]:
        """Run a transaction; does nothing after `close`, because the sender may still be running."""
        with self._lock:
            if self._closed:
                return []
            with self._db:
                rows = self._db.execute(query, values).fetchall()
                failpoint("spool.done")
            return rows

    def _append(self, kind: str, body: str, marks: Mapping[str, int]) -> bool:
        try:
            with self._lock:
                if self._closed:
                    return False
            with self._lock, self._db:
                self._db.execute("INSERT INTO entries (kind, body) VALUES (?, ?)", (kind, body))
                self._db.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?)", list(marks.items()))
                self._size += len(body)
                failpoint("spool.added", kind)
            failpoint("spool.committed", kind)
        except sqlite3.Error as error:  # for example a full disk, which will stop the training at a checkpoint
            log.warning("cannot write %s to %s (%s): they will not be sent to MLflow", kind, self._name, error)
            return False
        return True


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path or ":memory:", timeout=MAX_LOCK_WAIT, check_same_thread=False)
    try:
        # Exclusive before WAL: then SQLite needs no shared memory, which network file systems do not have.
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(_TABLES)
    except sqlite3.Error:
        connection.close()
        raise
    return connection

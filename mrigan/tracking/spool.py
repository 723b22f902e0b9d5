"""What MLflow has not taken yet: a queue in one SQLite file in the run folder, which survives kill -9.

Training adds to it and never waits for a server; the sender (`mrigan.tracking.sender`) takes from it. It also keeps,
for each metric, the last step that was ever added: a resumed job repeats the steps after its checkpoint, and their
metrics must not be sent twice.

One process at a time has the file open. Its write-ahead log is in the page cache after each entry, which a killed
process does not take along; against a loss of power the sender syncs it while the server is away.
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
LIMIT = 64 * 2**20  # bytes of entries; beyond it no metrics are kept, which `metrics.jsonl` has anyway
LOCKED = 5.0  # seconds to wait for another process that has the file open
_TABLES = """
    CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS marks (key TEXT PRIMARY KEY, step INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Entry:
    """One thing to send; `kind` says what `body` holds (see `Sender`)."""

    id: int
    kind: str
    body: dict[str, Any]
    size: int  # characters


class Spool:
    """The queue, for the training's thread and the sender's.

    Args:
        path: the file; None keeps the queue in memory, where it ends with the process. A damaged file is kept as
            `<name>.damaged`, and a new one is begun.

    Raises:
        TrackingError: another process has it open.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._closed = self._full = False
        try:
            self._db = _open(path)
        except sqlite3.OperationalError as error:
            raise TrackingError(
                f"the entries that are still to be sent to MLflow cannot be opened: {error}",
                where=path,
                fix="wait for the job, or the `mrigan track send`, that has it open",
            ) from None
        except sqlite3.DatabaseError as error:
            assert path is not None
            damaged = path.with_name(f"{path.name}.damaged")
            log.warning("%s is damaged (%s); it is kept as %s", path, error, damaged)
            os.replace(path, damaged)
            for beside in ("-wal", "-journal"):
                path.with_name(path.name + beside).unlink(missing_ok=True)
            self._db = _open(path)
        self._marks: dict[str, int] = dict(self._db.execute("SELECT key, step FROM marks"))
        [(self._size,)] = self._db.execute("SELECT coalesce(sum(length(body)), 0) FROM entries")

    def add(self, kind: str, body: Mapping[str, Any]) -> None:
        """Append an entry. Whatever happens to the disk, the caller goes on: what cannot be kept is said, and lost."""
        self._append(kind, json.dumps(body, ensure_ascii=False, default=str), {})

    def add_metrics(self, values: Mapping[str, float], step: int, milliseconds: int) -> None:
        """Append numbers of one step, without those of steps that were added before."""
        new = {key: value for key, value in values.items() if step > self._marks.get(key, -1)}
        if not new:
            return
        body = json.dumps({"step": step, "time": milliseconds, "values": new})
        if self._size + len(body) > LIMIT:
            if not self._full:
                log.warning("%s is full (%d MiB): no more metrics are kept in it", self._name, LIMIT >> 20)
            self._full = True
            return
        if self._append("metrics", body, dict.fromkeys(new, step)):
            self._marks.update(dict.fromkeys(new, step))

    def first(self, count: int, without: Sequence[str] = ()) -> list[Entry]:
        """The oldest entries, but for those of some kinds."""
        marks = ", ".join("?" * len(without))
        query = f"SELECT id, kind, body FROM entries WHERE kind NOT IN ({marks}) ORDER BY id LIMIT ?"
        rows = self._do(query, *without, count)
        return [Entry(number, kind, json.loads(body), len(body)) for number, kind, body in rows]

    def remove(self, entries: list[Entry]) -> None:
        """They are sent, or refused for good."""
        numbers = [entry.id for entry in entries]
        self._do(f"DELETE FROM entries WHERE id IN ({', '.join('?' * len(numbers))})", *numbers)
        self._size -= sum(entry.size for entry in entries)
        self._full = False

    def put_last(self, entry: Entry) -> None:
        """Let the others go first."""
        self._do("UPDATE entries SET id = (SELECT max(id) + 1 FROM entries) WHERE id = ?", entry.id)

    def clear(self) -> None:
        """Forget all entries."""
        self._do("DELETE FROM entries")
        self._size = 0

    def kinds(self) -> dict[str, int]:
        """How many entries of each kind there are."""
        return dict(self._do("SELECT kind, count(*) FROM entries GROUP BY kind"))

    def fact(self, key: str) -> str:
        """What was noted; "" where nothing was."""
        found = self._do("SELECT value FROM facts WHERE key = ?", key)
        return found[0][0] if found else ""

    def note(self, **facts: str) -> None:
        """Note facts about the run: they stay until they are noted anew."""
        for key, value in facts.items():
            self._do("INSERT OR REPLACE INTO facts VALUES (?, ?)", key, value)

    def sync(self) -> None:
        """Make what was added survive a loss of power."""
        if self.path is None:
            return
        try:
            # Only the log: to close a descriptor of the file itself would give up SQLite's lock on it.
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
        """A transaction; nothing once the file is closed, when the sender may still be at work."""
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
        except sqlite3.Error as error:  # a full disk, which stops the training where it matters: at a checkpoint
            log.warning("%s does not take %s (%s): MLflow will not get them", self._name, kind, error)
            return False
        return True


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path or ":memory:", timeout=LOCKED, check_same_thread=False)
    try:
        # Exclusive before WAL: then it needs no memory that processes share, which network file systems do not have.
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(_TABLES)
    except sqlite3.Error:
        connection.close()
        raise
    return connection

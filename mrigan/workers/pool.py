"""Worker processes that may die: each has one task at a time, and a worker that dies takes only that task with it.

`concurrent.futures` gives up all running tasks when one process is killed (by the kernel for its memory, by a decoder's
segmentation fault). Here only the task of that worker is given back, with the reason why its worker died. pebble does
the same, but its workers outlive a killed parent, and it has no reports from a running task, no time limit for each
file, and no exception from a worker's set-up. `mrigan.workers.ray_pool` does the same over a Ray cluster.
"""

from __future__ import annotations

import logging
import multiprocessing as mp
import os
import pickle
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from mrigan.errors import described
from mrigan.stopping import accept_signals, held_back
from mrigan.workers.file_clock import AtFile, FileTime

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 2  # of a task
PRELOADED = ("torch", "cv2", "av", "scipy.optimize", "pyarrow.parquet")  # once, not in each worker
CLEAN_UP = 10.0  # seconds that a worker gets after SIGTERM
CLEAN_UP_OF_HANGING = 2.0  # the same for one that hangs, and hardly will
POLL = 0.5  # seconds between two looks at `stop` and at the times


@dataclass(frozen=True)
class Done:
    """A finished task with its result."""

    task: Any
    result: Any


@dataclass(frozen=True)
class Busy:
    """What a worker reported about its running task."""

    task: Any
    note: Any


@dataclass(frozen=True)
class Died:
    """A task that ended its worker.

    Attributes:
        reason: how the worker died, or what it raised.
        note: its last report.
        error: the exception that it raised, if any; its traceback is in the exception's notes.
        again: whether the task is tried once more.
        late: the file that took too long, if the worker was killed for that.
    """

    task: Any
    reason: str
    note: Any
    error: BaseException | None
    again: bool
    late: AtFile | None = None

    @classmethod
    def of_late(cls, task: Any, note: Any, at: AtFile) -> Died:
        """A task whose worker was killed because a file took too long."""
        return cls(task, f"a worker was at one file for {at.seconds:.0f} s", note, None, False, at)


Report = Callable[[Any], None]
Setup = Callable[..., Callable[[Any, Report], Any]]


def run_tasks(
    setup: Setup,
    arguments: tuple[Any, ...],
    tasks: Iterable[Any],
    *,
    workers: int,
    stop: Callable[[], bool] = lambda: False,
    attempts: int = MAX_ATTEMPTS,
    seconds_per_file: float = 0,
) -> Iterator[Done | Busy | Died]:
    """Run `setup(*arguments)(task, report)` for each task in `workers` processes; yield outcomes as they come.

    `report(note)` sends a `Busy`. A task that ends its worker, by an exception or worse, is tried `attempts` times, at
    the end of the queue. When `stop()` becomes true, nothing more is yielded and the workers are stopped at once. No
    worker is left when this returns, and they end by themselves if this process is killed.

    Args:
        setup: a module-level function, called once in each worker.
        seconds_per_file: a worker whose `FileClock` shows one file for longer is killed, and its task is not tried
            again; 0 = no limit.
    """
    context = mp.get_context("forkserver")
    context.set_forkserver_preload([setup.__module__, *PRELOADED])
    queue = deque((task, attempts) for task in tasks)
    running: list[_Worker] = []
    poll, looked = min(POLL, seconds_per_file / 4 or POLL), time.monotonic()
    finished = False
    try:
        while (queue or running) and not stop():
            while queue and len(running) < workers and not stop():
                _start_server()
                worker = _Worker(context, setup, arguments)
                if worker.start(stop):
                    running.append(worker)
            if stop():
                break
            for worker in running:
                if worker.task is None and queue:
                    worker.give(*queue.popleft())
            idle = [worker for worker in running if worker.task is None]
            for worker in idle:
                worker.end()
                running.remove(worker)
            ready = set(wait([w.connection for w in running] + [w.process.sentinel for w in running], timeout=poll))
            step, looked = min(time.monotonic() - looked, 2 * poll), time.monotonic()  # at most: see `FileClock`
            for worker in running:
                worker.time.waited(step)
            for worker in [w for w in running if w.connection in ready or w.process.sentinel in ready]:
                outcome = worker.receive()
                if isinstance(outcome, Died):
                    running.remove(worker)
                    if outcome.again:
                        queue.append((outcome.task, worker.attempts - 1))
                if outcome is not None:
                    yield outcome
            for worker, late in [(w, late) for w in running if (late := w.time.beyond(seconds_per_file))]:
                running.remove(worker)
                yield worker.end_late(late)
        finished = not stop()
    finally:
        for worker in running:
            worker.process.terminate()  # all at once: together they have `CLEAN_UP` to clean up
        deadline = time.monotonic() + CLEAN_UP
        for worker in running:
            worker.kill(deadline - time.monotonic())
        if not finished:
            _end_server()


def _start_server() -> None:
    """Start the process that workers are forked from, unless it is there.

    It loads for seconds, and has no handlers. All signals to the group are held back in it for good, and in the workers
    until they have theirs; it ends when this process does.
    """
    resource_tracker.ensure_running()  # not in the block: it lets signals through when it has started
    with held_back():
        forkserver.ensure_running()


def _end_server() -> None:
    """End that process now, be it that it still loads: it would outlive this one for as long."""
    server: Any = forkserver._forkserver
    if server._forkserver_pid is not None:
        os.kill(server._forkserver_pid, signal.SIGKILL)
        server._stop()


class _Worker:
    """One process, its pipe, and the task that it has."""

    def __init__(self, context: Any, setup: Setup, arguments: tuple[Any, ...]) -> None:
        self.connection, self._remote = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(self._remote, setup, arguments), daemon=True)
        self.task: Any = None
        self.attempts = 0
        self.note: Any = None
        self.time = FileTime()

    def start(self, stop: Callable[[], bool]) -> bool:
        """Start the process, which waits until the server has loaded; False, and no more, where a stop comes first."""
        with self._remote, ThreadPoolExecutor(1) as pool:
            started = pool.submit(self.process.start)
            try:
                while not started.done():
                    if stop():
                        return False
                    futures.wait([started], 0.1)
            finally:
                if not started.done():
                    _end_server()  # nor does the thread wait any longer
            started.result()
        return True

    def give(self, task: Any, attempts: int) -> None:
        self.task, self.attempts, self.note, self.time = task, attempts, None, FileTime()
        try:
            self.connection.send(task)
        except OSError:
            log.debug("worker %s died before its task arrived", self.process.pid)  # `receive` reports it

    def receive(self) -> Done | Busy | Died | None:
        """What the worker sent: an outcome or a note; None for a note of its `FileClock`."""
        self.time.reported()
        try:
            kind, value = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return self._died(f"a worker was {_way(self.process.exitcode)}", None)
        if isinstance(value, AtFile):
            self.time.reported(value)
            return None
        if kind == "busy":
            self.note = value
            return Busy(self.task, value)
        if kind == "failed":
            self.end()
            return self._died(described(value), value)
        task, self.task, self.time = self.task, None, FileTime()
        return Done(task, value)

    def _died(self, reason: str, error: BaseException | None) -> Died:
        return Died(self.task, reason, self.note, error, self.attempts > 1)

    def end_late(self, at: AtFile) -> Died:
        """Kill the worker because of the file that it is at."""
        self.process.terminate()
        self.kill(CLEAN_UP_OF_HANGING)
        return Died.of_late(self.task, self.note, at)

    def end(self) -> None:
        """No more tasks: the worker ends by itself."""
        self.connection.close()
        self.process.join()

    def kill(self, seconds: float) -> None:
        """End a worker that got SIGTERM; it has so many seconds to remove its temporary files."""
        self.process.join(max(seconds, 0))
        if self.process.is_alive():
            self.process.kill()
            self.process.join(CLEAN_UP)
        if self.process.is_alive():
            log.warning("process %s cannot be killed: it waits for a disk or the network", self.process.pid)
        self.connection.close()


def _way(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"killed by {name}" + (" (the kernel does so when memory runs out)" if name == "SIGKILL" else "")
    return f"gone with exit code {exitcode}"


def _serve(connection: Connection, setup: Setup, arguments: tuple[Any, ...]) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, _leave)
    accept_signals()
    threading.Thread(target=_follow_parent, daemon=True).start()
    sending = threading.Lock()  # the thread of a `FileClock` reports, too

    def report(note: Any) -> None:
        with sending:
            connection.send(("busy", note))

    try:
        work = setup(*arguments)
        while True:
            task = connection.recv()
            connection.send(("done", work(task, report)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # no more tasks, or no parent
    except Exception as error:  # noqa: BLE001 (whatever it is, the parent gets it)
        error.add_note(traceback.format_exc())
        connection.send(("failed", sendable(error)))


def sendable(error: Exception) -> Exception:
    """The exception, or one that says the same where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 (an exception's own __reduce__ or __init__ may do anything)
        return RuntimeError(described(error))
    return error


def _leave(signum: int, frame: Any) -> None:
    raise SystemExit(128 + signum)  # unwinds, so that temporary files go


def _follow_parent() -> None:
    """End this process when its parent has died: an orphan would go on writing."""
    parent = mp.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)

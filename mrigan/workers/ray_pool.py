"""`run_tasks` over a Ray cluster: Ray places the tasks on its nodes; what a lost worker or node takes along is a task.

Ray's own retries are off: it would try a task that exhausts the memory again and again, and not tell which one it is.
"""

from __future__ import annotations

import logging
import socket
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mrigan.errors import ConfigError, described
from mrigan.workers.file_clock import AtFile
from mrigan.workers.pool import ATTEMPTS, JOIN, Busy, Died, Done, Report, Setup, sendable

log = logging.getLogger(__name__)

LOSSES = 5  # tries of a task that end with its node; a node that goes is hardly the task's fault, but it may be
EACH = 0.5  # seconds between two looks at `stop`


@contextmanager
def ray_session(address: str = "") -> Iterator[None]:
    """Be connected to a Ray cluster that runs.

    Args:
        address: `host:port`, "" = RAY_ADDRESS, or the cluster of this machine.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "Ray is not installed", where="--distributor ray", fix="on each node: pip install 'mrigan[ray]'"
        ) from None
    if ray.is_initialized():  # somebody else's session, who goes on with it
        yield
        return
    try:
        _knock(address)
        ray.init(address=address or "auto", log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"no Ray cluster answers: {described(error)}",
            where=f"--ray-address {address or 'auto'}",
            fix="start one: `ray start --head` here, `ray start --address HOST:6379` on the other nodes",
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError where nothing listens; Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


@dataclass
class _Try:
    """A task that Ray has."""

    task: Any
    attempts: int
    losses: int
    note: Any = None
    at: AtFile | None = None
    silent: float = 0.0  # seconds since it was last heard of

    @property
    def seconds_at_file(self) -> float:
        return self.at.seconds + self.silent if self.at is not None else 0.0


def run_on_ray(
    setup: Setup,
    arguments: tuple[Any, ...],
    tasks: Iterable[Any],
    *,
    stop: Callable[[], bool] = lambda: False,
    attempts: int = ATTEMPTS,
    seconds_per_file: float = 0,
) -> Iterator[Done | Busy | Died]:
    """As `mrigan.workers.pool.run_tasks`, in a `ray_session`: a CPU a task, as many at a time as the cluster has.

    A task whose worker dies or raises is tried `attempts` times, one whose node is lost `LOSSES` times.
    """
    import ray
    from ray.exceptions import NodeDiedError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    notes: Any = ray.remote(_Notes).options(num_cpus=0, scheduling_strategy=here).remote()
    work = ray.remote(_work).options(num_cpus=1, max_retries=0)
    run = uuid.uuid4().hex
    running: dict[Any, _Try] = {}
    poll, looked = min(EACH, seconds_per_file / 4 or EACH), time.monotonic()

    def start(attempt: _Try) -> None:
        ref = work.remote(run, setup, arguments, attempt.task, notes)
        running[ref] = attempt

    for task in tasks:
        start(_Try(task, attempts, LOSSES))
    try:
        while running and not stop():
            ready, _ = ray.wait(list(running), timeout=poll)
            step, looked = min(time.monotonic() - looked, 2 * poll), time.monotonic()
            tries = {ref.task_id().hex(): attempt for ref, attempt in running.items()}
            for attempt in running.values():
                attempt.silent += step
            for task_id, note in ray.get(notes.take.remote()):
                if task_id in tries and isinstance(note, AtFile):
                    tries[task_id].at, tries[task_id].silent = note, 0.0
                elif task_id in tries:
                    tries[task_id].note = note
                    yield Busy(tries[task_id].task, note)
            for ref in ready:
                attempt = running.pop(ref)
                try:
                    error, result = ray.get(ref)
                except NodeDiedError as gone:
                    attempt.losses -= 1
                    died = Died(attempt.task, _short(gone), attempt.note, None, attempt.losses > 0)
                except RayError as gone:
                    attempt.attempts -= 1
                    died = Died(attempt.task, _short(gone), attempt.note, None, attempt.attempts > 0)
                else:
                    if error is None:
                        yield Done(attempt.task, result)
                        continue
                    attempt.attempts -= 1
                    died = Died(attempt.task, described(error), attempt.note, error, attempt.attempts > 0)
                if died.again:
                    start(_Try(attempt.task, attempt.attempts, attempt.losses))
                yield died
            for ref, attempt in list(running.items()):
                if seconds_per_file and attempt.at and attempt.seconds_at_file > seconds_per_file:
                    del running[ref]
                    ray.cancel(ref, force=True)  # kills its process
                    at = AtFile(attempt.at.file, attempt.seconds_at_file)
                    reason = f"a worker was at one file for {at.seconds:.0f} s"
                    yield Died(attempt.task, reason, attempt.note, None, False, at)
    finally:
        for ref in running:
            ray.cancel(ref, force=False)  # a KeyboardInterrupt, which removes temporary files
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=JOIN)
        ray.kill(notes)


def _short(error: BaseException) -> str:
    """The first sentence of what Ray says; it goes on with advice."""
    return described(error).split(". ", 1)[0]


class _Notes:
    """An actor beside the builder that keeps what the tasks report until it is fetched."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, Any]] = []

    def put(self, task_id: str, note: Any) -> None:
        self.notes.append((task_id, note))

    def take(self) -> list[tuple[str, Any]]:
        taken, self.notes = self.notes, []
        return taken


_made: dict[str, Callable[[Any, Report], Any]] = {}  # this process's worker, by the run that it is of


def _work(run: str, setup: Setup, arguments: tuple[Any, ...], task: Any, notes: Any) -> tuple[Exception | None, Any]:
    """One task in a process of Ray's, which may be used for many."""
    import ray

    task_id = ray.get_runtime_context().get_task_id()
    try:
        if run not in _made:
            _made.clear()
            _made[run] = setup(*arguments)
        return None, _made[run](task, lambda note: ray.get(notes.put.remote(task_id, note)))
    except Exception as error:  # noqa: BLE001 (whatever it is, the builder is told)
        _made.clear()
        error.add_note(traceback.format_exc())
        return sendable(error), None

"""`run_tasks` over a Ray cluster: Ray places the tasks on its nodes; a lost worker takes one task with it.

Ray's own retries are off: it would repeat a task that exhausts the memory without end, and not say which task it is.
"""

from __future__ import annotations

import logging
import socket
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mrigan.errors import ConfigError, described
from mrigan.workers.file_clock import AtFile, FileTime
from mrigan.workers.pool import CLEAN_UP, MAX_ATTEMPTS, Busy, Died, Done, Report, Setup, sendable

log = logging.getLogger(__name__)

MAX_LOSSES = 5  # tries of a task that end with its node: a lost node is rarely the fault of the task
POLL = 0.5  # seconds between two looks at `stop`


@contextmanager
def ray_session(address: str = "") -> Iterator[None]:
    """Be connected to a running Ray cluster.

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
    if ray.is_initialized():  # a session of the caller, which goes on
        yield
        return
    try:
        _require_listener(address)
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


def _require_listener(address: str) -> None:
    """Raise OSError if nothing listens at the address; Ray itself would keep trying for minutes."""
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
    time: FileTime = field(default_factory=FileTime)


def run_on_ray(
    setup: Setup,
    arguments: tuple[Any, ...],
    tasks: Iterable[Any],
    *,
    stop: Callable[[], bool] = lambda: False,
    attempts: int = MAX_ATTEMPTS,
    seconds_per_file: float = 0,
) -> Iterator[Done | Busy | Died]:
    """As `mrigan.workers.pool.run_tasks`, in a `ray_session`: a CPU a task, as many at a time as the cluster has.

    A task whose worker dies or raises is tried `attempts` times, one whose node is lost `MAX_LOSSES` times.
    """
    import ray
    from ray.exceptions import NodeDiedError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    notes: Any = ray.remote(_Notes).options(num_cpus=0, scheduling_strategy=here).remote()
    work = ray.remote(_work).options(num_cpus=1, max_retries=0)
    run = uuid.uuid4().hex
    running: dict[Any, _Try] = {}
    poll, looked = min(POLL, seconds_per_file / 4 or POLL), time.monotonic()

    def start(attempt: _Try) -> None:
        ref = work.remote(run, setup, arguments, attempt.task, notes)
        running[ref] = attempt

    for task in tasks:
        start(_Try(task, attempts, MAX_LOSSES))
    try:
        while running and not stop():
            ready, _ = ray.wait(list(running), timeout=poll)
            step, looked = min(time.monotonic() - looked, 2 * poll), time.monotonic()
            tries = {ref.task_id().hex(): attempt for ref, attempt in running.items()}
            for attempt in running.values():
                attempt.time.waited(step)
            for task_id, note in ray.get(notes.take.remote()):
                if task_id in tries and isinstance(note, AtFile):
                    tries[task_id].time.reported(note)
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
                if late := attempt.time.beyond(seconds_per_file):
                    del running[ref]
                    ray.cancel(ref, force=True)  # kills its process
                    yield Died.of_late(attempt.task, attempt.note, late)
    finally:
        for ref in running:
            ray.cancel(ref, force=False)  # a KeyboardInterrupt, which removes temporary files
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=CLEAN_UP)
        ray.kill(notes)


def _short(error: BaseException) -> str:
    """The first sentence of Ray's message; advice follows it."""
    return described(error).split(". ", 1)[0]


class _Notes:
    """An actor on the builder's node that keeps the reports of the tasks until the builder takes them."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, Any]] = []

    def put(self, task_id: str, note: Any) -> None:
        self.notes.append((task_id, note))

    def take(self) -> list[tuple[str, Any]]:
        taken, self.notes = self.notes, []
        return taken


_made: dict[str, Callable[[Any, Report], Any]] = {}  # this process's worker, by the run that it is of


def _work(run: str, setup: Setup, arguments: tuple[Any, ...], task: Any, notes: Any) -> tuple[Exception | None, Any]:
    """One task in a process of Ray, which may run many."""
    import ray

    task_id = ray.get_runtime_context().get_task_id()
    try:
        if run not in _made:
            _made.clear()
            _made[run] = setup(*arguments)
        return None, _made[run](task, lambda note: ray.get(notes.put.remote(task_id, note)))
    except Exception as error:  # noqa: BLE001 (whatever it is, the builder gets it)
        _made.clear()
        error.add_note(traceback.format_exc())
        return sendable(error), None

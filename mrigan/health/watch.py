"""The watchdog of one rank of a training: it writes the heartbeat, and ends the process if it hangs.

The training thread reports its position (`beat`): it only sets a field, and never waits for a device, a disk or a peer.
Two other threads do the rest. One writes the heartbeat. The other reads the field and touches no file while there is
progress, so it also notices a hang of the storage.

Until two steps are done, everything may take long (`health.start_s`): compiling, the first batches, connecting. Then
the rank must make progress within `health.stall_s` (or longer if the second step was slow: a big network on a small
CPU), or within `health.slow_s` in a checkpoint or an evaluation. Messages between ranks time out after that limit.

A rank without heartbeats is suspected earlier: after `stall_s` of silence in any phase, but at most `slow_s`. See
`mrigan.health.neighbour`.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from mrigan.config import HealthConfig
from mrigan.health.failure import PeerFailed, find_cause, first_failure, note_failure, read_stall, write_torchrun_error
from mrigan.health.heartbeat import ENDED, EVERY_S, MAX_MISSED, Heartbeat, write_heartbeat
from mrigan.health.neighbour import Neighbour
from mrigan.health.stall import report_stall
from mrigan.stopping import Stopped

if TYPE_CHECKING:
    from mrigan.engine.distributed import World

log = logging.getLogger(__name__)

EXIT_HUNG = 76  # exit code of a process that the watchdog ended
MARGIN_S = 60.0  # that messages wait longer than the watchdog
REPORT_S = 60.0  # for the evidence, because the storage itself may hang
LOOK_S = 5.0  # without progress, before it checks whether another rank hangs or has failed
LEAVE_S = 20.0  # without progress, before it ends this process after a peer's failure
WARMUP_STEPS = 2  # the first step compiles, allocates, connects
SLOW_FACTOR = 5.0  # times the second step
SLOW_PHASES = ("validation", "checkpoint", "waiting", "finish")


class Position(NamedTuple):
    """The position of the training thread. A new object is a sign of life."""

    step: int
    phase: str


class Watchdog:
    """A context manager around the work of a rank, from opening the run folder to leaving it.

    Args:
        folder: `run.dir/health`, which rank 0 must have cleared (see `evidence.clear`); None = no watchdog: `beat` and
            `slow` do nothing.
        world: this rank and the others.
        config: the limits, and the action.
        step: steps done before this start. steps: in all.
        set_status: called with (state, error, whether to retry) to replace the status of the run: "hung", by the rank
            that notices the hang; "failed", by rank 0 if it waits for a rank that has failed.
    """

    def __init__(
        self,
        folder: Path | None = None,
        world: World | None = None,
        config: HealthConfig | None = None,
        *,
        step: int = 0,
        steps: int = 0,
        set_status: Callable[[str, str, bool], None] | None = None,
    ) -> None:
        self.folder, self.world, self.config = folder, world, config or HealthConfig()
        self.steps = steps
        self._set_status = set_status
        self._place = Position(step, "start")
        self._since = time.monotonic()
        self._steps = 0  # completed in this start
        self._last = 0.0  # when the last of them was completed
        self._slowest = 0.0  # seconds: SLOW_FACTOR times the second step
        self._messages = self.message_timeout(self.config)
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        # Often enough to notice silence within each limit.
        self.every = min(EVERY_S, self.config.stall_s / 4 or EVERY_S, self.config.slow_s / (MAX_MISSED + 2))
        self._neighbour = Neighbour(folder, world.rank, world.size) if folder and world else None

    @staticmethod
    def message_timeout(config: HealthConfig) -> float:
        """The initial timeout of messages in seconds, for the creation of a process group."""
        return config.start_s + MARGIN_S

    @property
    def limit(self) -> float:
        """Seconds within which this rank must make progress; 0 = not watched."""
        return self._limit(self._place.phase)

    def beat(self, phase: str | None = None, step: int | None = None) -> None:
        """A sign of life of the training thread.

        Args:
            phase: the phase that starts, one of `PHASES`; None = the same phase.
            step: completed steps; None = the same number.
        """
        place = self._place
        self._place = Position(place.step if step is None else step, phase or place.phase)
        self._since = time.monotonic()
        self._set_message_timeout()

    def stepped(self, step: int) -> None:
        """Report that the host has completed `step` optimizer steps; the device may still be busy."""
        now = time.monotonic()
        self._steps += 1
        if self._steps == WARMUP_STEPS:
            self._slowest = SLOW_FACTOR * (now - self._last)
        self._last = now
        self.beat("log", step)

    @contextmanager
    def slow(self, phase: str) -> Iterator[None]:
        """A phase that may take `health.slow_s`. All ranks enter it, and leave it together."""
        before = self._place.phase
        self.beat(phase)
        yield
        if self.world is not None and self.folder is not None:
            self.beat("waiting")
            self.world.barrier()
        self.beat(before)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Write an error of this rank to its file; if it is only an echo, raise the peer's error instead.

        Raises:
            PeerFailed: another rank failed first, or hangs.
        """
        try:
            yield
        except Stopped:
            raise
        except Exception as error:  # every error is raised again
            if self.folder is None or self.world is None:
                raise
            failure = note_failure(self.folder, self.world.rank, error, *self._place)
            if failure.echo and not failure.known and (cause := find_cause(self.folder, self.world.rank)):
                raise cause from error
            raise

    def __enter__(self) -> Watchdog:
        if self.folder is not None:
            self.beat()
            loops = [self._write] + ([self._look] if self.config.stall_s else [])
            self._threads = [threading.Thread(target=loop, name="health", daemon=True) for loop in loops]
            for thread in self._threads:
                thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join(LOOK_S)  # a thread may wait for a disk
        if self._threads:
            faulthandler.cancel_dump_traceback_later()

    def _limit(self, phase: str) -> float:
        if not self.config.stall_s:
            return 0.0
        return max(self._usual, self.config.slow_s) if phase in SLOW_PHASES else self._usual

    @property
    def _usual(self) -> float:
        config = self.config
        return config.start_s if self._steps < WARMUP_STEPS else max(config.stall_s, self._slowest)

    @property
    def _max_silence(self) -> float:
        """Seconds; two heartbeats less than the limit, because a check may come that late."""
        return max(min(self._usual, self.config.slow_s) - 2 * self.every, MAX_MISSED * self.every)

    def _set_message_timeout(self) -> None:
        timeout = self.limit + MARGIN_S
        if self.world is None or not self.config.stall_s or self.config.on_stall != "stop" or timeout == self._messages:
            return
        self._messages = timeout
        self.world.set_timeout(timeout)

    def heartbeat(self, phase: str | None = None) -> Heartbeat:
        """This rank's present heartbeat."""
        assert self.world is not None
        place, idle = self._place, time.monotonic() - self._since
        return Heartbeat(self.world.rank, self.world.size, place.step, self.steps, phase or place.phase,
                         round(idle, 3), self._limit(place.phase), self.every)  # fmt: skip

    def _write(self) -> None:
        assert self.folder is not None
        closed = warned = False
        last = time.monotonic()
        while True:
            try:
                write_heartbeat(self.folder, self.heartbeat(ENDED if closed else None))
                if self._neighbour is not None:  # silence does not count while the storage hangs or fails
                    now = time.monotonic()
                    self._neighbour.look(min(now - last, 2 * self.every))
                    last = now
            except OSError as error:
                if not warned:
                    log.warning("cannot write the heartbeat: %s", error)
                warned = True
            if closed:
                return
            closed = self._closed.wait(self.every)

    def _look(self) -> None:
        tick = min(1.0, self.every / 2)
        seen, idle, last, armed = self._place, 0.0, time.monotonic(), 0.0
        while not self._closed.wait(tick):
            now = time.monotonic()
            # Time when this process was stopped, or hardly ran, does not count.
            ran, last = min(now - last, 2 * tick), now
            if now >= armed:
                armed = now + self.every
                # A timer in C, because this thread cannot run while another one holds Python's lock for ever.
                faulthandler.dump_traceback_later(self.config.stall_s + self.every, file=2)
            if self._place is not seen:
                seen, idle = self._place, 0.0
                continue
            idle += ran
            if idle > self.limit:
                self._hung(idle)
                seen = self._place
                idle = float("-inf")  # with on_stall=report, report once until there is progress
            elif idle > min(LOOK_S, self.limit / 2):
                self._look_at_peers(idle)

    def _look_at_peers(self, idle: float) -> None:
        assert self.folder is not None
        silent = self._neighbour is not None and self._neighbour.suspected(self._max_silence)
        if silent or read_stall(self.folder).get("stops"):
            self._hung(idle)
        if idle <= LEAVE_S:
            return
        if (failure := first_failure(self.folder)) and self.world is not None and failure.rank != self.world.rank:
            log.error("%s; this rank still waits for it, and is now ended", failure)
            if self.world.main and self._set_status is not None:
                self._set_status("failed", str(failure), not failure.known)
            os._exit(1)

    def _hung(self, idle: float) -> None:
        """Write the evidence; then, with on_stall=stop, end this process."""
        stops = self.config.on_stall == "stop"
        beat, set_status = self.heartbeat(), self._set_status

        def report() -> None:
            assert self.folder is not None
            what = report_stall(self.folder, beat, idle, stops)
            if what and stops:
                write_torchrun_error(PeerFailed(what, again=True, state="hung"))
                if set_status is not None:
                    set_status("hung", what, True)

        thread = threading.Thread(target=report, name="health-report", daemon=True)
        thread.start()
        thread.join(REPORT_S)
        if thread.is_alive():
            log.error("%s hangs at %s, and writing to %s hangs too", beat.name, beat.place, self.folder)
        if stops:
            os._exit(EXIT_HUNG)

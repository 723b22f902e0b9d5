"""The watch over one rank of a training: it writes the heartbeat, and ends what hangs.

The training thread says where it is (`beat`): it sets a field, and never waits for a device, a disk or a peer. Two
threads do the rest. One writes the heartbeat. The other looks at the field, touches no file while all goes well, and
so notices a hang also where the storage hangs.

Before two steps have ended everything may take long (`health.start_s`): compiling, the first batches, connecting. Then
the rank must go on within `health.stall_s` (longer where that second step was slow: a big network on a small CPU), or
`health.slow_s` in a checkpoint or an evaluation. Messages between the ranks time out a moment after the watch acts.

A rank that no longer writes its heartbeat gets no such time: those who wait for it suspect it in any phase once it has
been silent for `stall_s`, never more than `slow_s`. See `mrigan.health.neighbour`.
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
from mrigan.health.failure import PeerFailed, find_cause, first_failure, note_failure, read_stall, tell_torchrun
from mrigan.health.heartbeat import ENDED, EVERY_S, SILENT, Heartbeat, write_heartbeat
from mrigan.health.neighbour import Neighbour
from mrigan.health.stall import report_stall
from mrigan.stopping import Stopped

if TYPE_CHECKING:
    from mrigan.engine.distributed import World

log = logging.getLogger(__name__)

EXIT_HUNG = 76  # of a process that the watch has ended
MARGIN_S = 60.0  # that messages wait longer than the watch
REPORT_S = 60.0  # for the evidence: the storage may be what hangs
LOOK_S = 5.0  # without going on, after which it looks whether another rank hangs or has failed
LEAVE_S = 20.0  # the same, after which it no longer waits for its thread to notice that a peer has failed
STARTED = 2  # steps; the first one compiles, allocates, connects
PATIENT = 5.0  # times the second step
LONG = ("validation", "checkpoint", "waiting", "finish")


class Place(NamedTuple):
    """Where the training thread is. A new one is a sign of life."""

    step: int
    phase: str


class Watch:
    """A context around all that a rank does between opening the run folder and leaving it.

    Args:
        folder: `run.dir/health`, cleared by rank 0 before any rank comes here (see `evidence.clear`); None = no watch:
            `beat` and `slow` do nothing.
        world: this rank among the others.
        config: the limits, and what to do.
        step: steps done before this start. steps: in all.
        tell: called with (state, error, whether to try again) to replace the status of the run: "hung", by the rank
            that notices it; "failed", by a rank 0 that waits in vain for a rank that has failed.
    """

    def __init__(
        self,
        folder: Path | None = None,
        world: World | None = None,
        config: HealthConfig | None = None,
        *,
        step: int = 0,
        steps: int = 0,
        tell: Callable[[str, str, bool], None] | None = None,
    ) -> None:
        self.folder, self.world, self.config = folder, world, config or HealthConfig()
        self.steps = steps
        self._tell = tell
        self._place = Place(step, "start")
        self._since = time.monotonic()
        self._steps = 0  # of this start, that have ended
        self._last = 0.0  # when the last of them did
        self._slowest = 0.0  # seconds in which a rank must go on: so many times its second step
        self._messages = self.message_timeout(self.config)
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        # Often enough that silence is noticed within each of the limits.
        self.every = min(EVERY_S, self.config.stall_s / 4 or EVERY_S, self.config.slow_s / (SILENT + 2))
        self._neighbour = Neighbour(folder, world.rank, world.size) if folder and world else None

    @staticmethod
    def message_timeout(config: HealthConfig) -> float:
        """Seconds that messages wait in the beginning: what a process group is to be made with."""
        return config.start_s + MARGIN_S

    @property
    def limit(self) -> float:
        """Seconds in which this rank must go on; 0 = not watched."""
        return self._limit(self._place.phase)

    def beat(self, phase: str | None = None, step: int | None = None) -> None:
        """A sign of life of the training thread.

        Args:
            phase: what it begins, one of `PHASES`; None = it goes on with what it does.
            step: steps done; None = as many as before.
        """
        place = self._place
        self._place = Place(place.step if step is None else step, phase or place.phase)
        self._since = time.monotonic()
        self._set_messages()

    def stepped(self, step: int) -> None:
        """`step` optimizer steps are done: the host has gone through them; the device may still be at work."""
        now = time.monotonic()
        self._steps += 1
        if self._steps == STARTED:
            self._slowest = PATIENT * (now - self._last)
        self._last = now
        self.beat("log", step)

    @contextmanager
    def slow(self, phase: str) -> Iterator[None]:
        """What may take `health.slow_s`, on any rank: all of them go through it, and leave it together."""
        before = self._place.phase
        self.beat(phase)
        yield
        if self.world is not None and self.folder is not None:
            self.beat("waiting")
            self.world.barrier()
        self.beat(before)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Note an error of this rank; where it is but an echo of a peer's, raise that one.

        Raises:
            PeerFailed: another rank failed first, or hangs.
        """
        try:
            yield
        except Stopped:
            raise
        except Exception as error:  # whatever it is, it goes on its way
            if self.folder is None or self.world is None:
                raise
            failure = note_failure(self.folder, self.world.rank, error, *self._place)
            if failure.echo and not failure.known and (cause := find_cause(self.folder, self.world.rank)):
                raise cause from error
            raise

    def __enter__(self) -> Watch:
        if self.folder is not None:
            self.beat()
            works = [self._write] + ([self._look] if self.config.stall_s else [])
            self._threads = [threading.Thread(target=work, name="health", daemon=True) for work in works]
            for thread in self._threads:
                thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join(LOOK_S)  # one may wait for a disk
        if self._threads:
            faulthandler.cancel_dump_traceback_later()

    def _limit(self, phase: str) -> float:
        if not self.config.stall_s:
            return 0.0
        return max(self._usual, self.config.slow_s) if phase in LONG else self._usual

    @property
    def _usual(self) -> float:
        config = self.config
        return config.start_s if self._steps < STARTED else max(config.stall_s, self._slowest)

    @property
    def _most_silence(self) -> float:
        """Seconds; two heartbeats less than the limit, because so late may a look at it come."""
        return max(min(self._usual, self.config.slow_s) - 2 * self.every, SILENT * self.every)

    def _set_messages(self) -> None:
        wanted = self.limit + MARGIN_S
        if self.world is None or not self.config.stall_s or self.config.on_stall != "stop" or wanted == self._messages:
            return
        self._messages = wanted
        self.world.set_timeout(wanted)

    def heartbeat(self, phase: str | None = None) -> Heartbeat:
        """What this rank says of itself now."""
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
                if self._neighbour is not None:  # where the storage hangs or fails, no silence is counted
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
            # Time in which this process itself was stopped, or hardly ran, does not count.
            ran, last = min(now - last, 2 * tick), now
            if now >= armed:
                armed = now + self.every
                # Of C, for a thread that holds Python's lock and never gives it back: this one does not run then.
                faulthandler.dump_traceback_later(self.config.stall_s + self.every, file=2)
            if self._place is not seen:
                seen, idle = self._place, 0.0
                continue
            idle += ran
            if idle > self.limit:
                self._hung(idle)
                seen = self._place
                idle = float("-inf")  # said once, with on_stall=report, until it goes on
            elif idle > min(LOOK_S, self.limit / 2):
                self._look_at_peers(idle)

    def _look_at_peers(self, idle: float) -> None:
        assert self.folder is not None
        silent = self._neighbour is not None and self._neighbour.suspected(self._most_silence)
        if silent or read_stall(self.folder).get("stops"):
            self._hung(idle)
        if idle <= LEAVE_S:
            return
        if (failure := first_failure(self.folder)) and self.world is not None and failure.rank != self.world.rank:
            log.error("%s; this rank still waits for it, and is ended", failure)
            if self.world.main and self._tell is not None:
                self._tell("failed", str(failure), not failure.known)
            os._exit(1)

    def _hung(self, idle: float) -> None:
        """Leave the evidence; then end this process, if that is wanted."""
        stops = self.config.on_stall == "stop"
        beat, tell = self.heartbeat(), self._tell

        def report() -> None:
            assert self.folder is not None
            what = report_stall(self.folder, beat, idle, stops)
            if what and stops:
                tell_torchrun(PeerFailed(what, again=True, state="hung"))
                if tell is not None:
                    tell("hung", what, True)

        thread = threading.Thread(target=report, name="health-report", daemon=True)
        thread.start()
        thread.join(REPORT_S)
        if thread.is_alive():
            log.error("%s hangs at %s, and so does the writing of %s", beat.name, beat.place, self.folder)
        if stops:
            os._exit(EXIT_HUNG)

"""Find the rank that failed first. Its error ends the other ranks with errors such as "Connection closed by peer".

Every rank that fails writes `rank-N.error.json`. A rank whose error is only an echo waits briefly for the first error.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mrigan.errors import MriganError
from mrigan.files import process_is_gone, write_json
from mrigan.health.heartbeat import ENDED, Heartbeat, rank_file, read_heartbeats
from mrigan.health.records import read_record

log = logging.getLogger(__name__)

PATIENCE_S = 5.0  # until a peer's file is visible on a shared file system
POLL_S = 0.1
STALL = "stall.json"
# Parts of torch's error messages after a peer has ended: gloo raises plain RuntimeErrors.
ECHOES = ("gloo/", "Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "ncclRemoteError")


class PeerFailed(MriganError):  # noqa: N818 (the error is another rank's)
    """Another rank failed first; this is its error.

    Args:
        again: whether a retry may succeed (a killed process, a broken connection; not a wrong setting).
        state: for `status.json`: "failed" or "hung".
    """

    def __init__(self, what: str, *, fix: str | None = None, again: bool, state: str = "failed") -> None:
        self.again, self.state = again, state
        super().__init__(what, fix=fix)


@dataclass(frozen=True)
class _Stall:
    stops: bool
    rank: int
    time: float
    what: str = ""


@dataclass(frozen=True)
class RankFailure:
    """The error of a rank.

    Attributes:
        error: the error's type and text.
        known: it is a `MriganError`: a retry would fail too, and `fix` says what to do.
        echo: it failed only because a peer had ended.
    """

    rank: int
    host: str
    pid: int
    time: float
    step: int
    phase: str
    error: str
    fix: str | None
    known: bool
    echo: bool
    traceback: str

    def __str__(self) -> str:
        return f"rank {self.rank} on {self.host} failed first, at step {self.step} ({self.phase}): {self.error}"


def is_echo(error: BaseException) -> bool:
    """Whether an error only says that a peer has ended or does not answer."""
    import torch.distributed as dist

    from mrigan.engine.distributed import PeerError

    if isinstance(error, PeerError | PeerFailed | dist.DistBackendError | dist.DistNetworkError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in ECHOES)


def note_failure(folder: Path, rank: int, error: BaseException, step: int, phase: str) -> RankFailure:
    """Write `rank-N.error.json` and, if the error is not an echo, torchrun's error file. Call it in the handler."""
    known = isinstance(error, MriganError)
    text = error.what if isinstance(error, MriganError) else f"{type(error).__name__}: {error}"
    fix = error.fix if isinstance(error, MriganError) else None
    failure = RankFailure(rank, socket.gethostname(), os.getpid(), time.time(), step, phase, text, fix, known,
                          is_echo(error), "".join(traceback.format_exception(error)))  # fmt: skip
    try:
        write_json(rank_file(folder, rank, ".error.json"), asdict(failure))
    except OSError as problem:
        log.warning("cannot write %s: %s", folder, problem)
    if not failure.echo:
        write_torchrun_error(error)
    return failure


def write_torchrun_error(error: BaseException) -> None:
    """Write torchrun's error file, as `@record` of `torch.distributed.elastic` does: torchrun prints the root cause."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path and not os.path.exists(path):
        more = {"py_callstack": "".join(traceback.format_exception(error)), "timestamp": str(int(time.time()))}
        message = {"message": f"{type(error).__name__}: {error}", "extraInfo": more}
        try:
            Path(path).write_text(json.dumps({"message": message}))
        except OSError as problem:
            log.warning("cannot write %s: %s", path, problem)


def read_failures(folder: Path) -> list[RankFailure]:
    """The errors of all ranks, sorted by time."""
    records = (read_record(RankFailure, path) for path in folder.glob("rank-*.error.json"))
    return sorted((failure for failure in records if failure is not None), key=lambda failure: failure.time)


def first_failure(folder: Path) -> RankFailure | None:
    """The first error that is not an echo; None if there is none."""
    return next((failure for failure in read_failures(folder) if not failure.echo), None)


def read_stall(folder: Path) -> dict[str, Any]:
    """The content of `stall.json` (`stops`, `rank`, `time`, `what`); {} if there is none yet."""
    stall = read_record(_Stall, folder / STALL)
    if stall is None:
        return {}
    return {"stops": stall.stops, "rank": stall.rank, "time": stall.time} | ({"what": stall.what} if stall.what else {})


def find_cause(folder: Path, rank: int, patience: float = PATIENCE_S) -> PeerFailed | None:
    """The first failure, for a rank whose own error is an echo; waits up to `patience` s for the peer's file.

    None if no rank has written an error, and all processes of this machine are alive.
    """
    end = time.monotonic() + patience
    while True:
        # Dead processes first: a process that is dead now has already written its error, which is read below.
        dead = dead_ranks([beat for beat in read_heartbeats(folder) if beat.rank != rank], read_failures(folder))
        if failure := first_failure(folder):
            return PeerFailed(str(failure), fix=failure.fix, again=not failure.known)
        stall = read_stall(folder)
        if "what" in stall and stall["stops"]:
            return PeerFailed(stall["what"], again=True, state="hung")
        if dead:
            names = ", ".join(beat.name for beat in dead)
            what = f"{names} died without an error message at {dead[0].place}: killed, or out of memory"
            return PeerFailed(what, again=True)
        if time.monotonic() > end:
            return None
        time.sleep(POLL_S)  # there are no events for files of other machines


def dead_ranks(beats: Sequence[Heartbeat], failures: Sequence[RankFailure]) -> list[Heartbeat]:
    """Ranks of this machine whose process is dead and has not written an error."""
    failed = {failure.rank for failure in failures}
    return [
        beat
        for beat in beats
        if beat.phase != ENDED and beat.rank not in failed and process_is_gone(beat.space, beat.pid)
    ]

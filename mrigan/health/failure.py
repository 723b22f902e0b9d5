"""Which rank failed first: an error ends the other ranks too, and theirs, "Connection closed by peer", says nothing.

Every rank that fails writes `rank-N.error.json`. One whose error is but an echo of a peer's looks a moment for it.
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

PATIENCE_S = 5.0  # that a peer's word takes over a shared file system
POLL_S = 0.1
STALL = "stall.json"
# In the texts of torch's errors when a peer has left: gloo raises plain RuntimeErrors.
ECHOES = ("gloo/", "Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "ncclRemoteError")


class PeerFailed(MriganError):  # noqa: N818 - it tells of another rank's error
    """Another rank failed first; this is its error.

    Args:
        again: whether the same command may do better: a killed process, a broken link; not a wrong setting.
        state: for `status.json`: "failed", or "hung".
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
class Failure:
    """What a rank failed with.

    Attributes:
        error: the error's type and text.
        known: a `MriganError`: it would come again, and `fix` says what to do.
        echo: only because a peer had left.
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
    """Whether an error only says that a peer has left or does not answer."""
    import torch.distributed as dist

    from mrigan.engine.distributed import PeerError

    if isinstance(error, PeerError | PeerFailed | dist.DistBackendError | dist.DistNetworkError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in ECHOES)


def note_failure(folder: Path, rank: int, error: BaseException, step: int, phase: str) -> Failure:
    """Write `rank-N.error.json`, and torchrun's error file unless the error is an echo. Call it where it is handled."""
    known = isinstance(error, MriganError)
    text = error.what if isinstance(error, MriganError) else f"{type(error).__name__}: {error}"
    fix = error.fix if isinstance(error, MriganError) else None
    failure = Failure(rank, socket.gethostname(), os.getpid(), time.time(), step, phase, text, fix, known,
                      is_echo(error), "".join(traceback.format_exception(error)))  # fmt: skip
    try:
        write_json(rank_file(folder, rank, ".error.json"), asdict(failure))
    except OSError as problem:
        log.warning("cannot write %s: %s", folder, problem)
    if not failure.echo:
        tell_torchrun(error)
    return failure


def tell_torchrun(error: BaseException) -> None:
    """What `torch.distributed.elastic`'s `@record` does: its agent prints the first rank's error as the root cause."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path and not os.path.exists(path):
        more = {"py_callstack": "".join(traceback.format_exception(error)), "timestamp": str(int(time.time()))}
        message = {"message": f"{type(error).__name__}: {error}", "extraInfo": more}
        try:
            Path(path).write_text(json.dumps({"message": message}))
        except OSError as problem:
            log.warning("cannot write %s: %s", path, problem)


def read_failures(folder: Path) -> list[Failure]:
    """Of all ranks, by time."""
    found = (read_record(Failure, path) for path in folder.glob("rank-*.error.json"))
    return sorted((failure for failure in found if failure is not None), key=lambda failure: failure.time)


def first_failure(folder: Path) -> Failure | None:
    """The first that is no echo of another; None where no rank has written one."""
    return next((failure for failure in read_failures(folder) if not failure.echo), None)


def read_stall(folder: Path) -> dict[str, Any]:
    """What `stall.json` says, {} where there is none (or none yet): whether the ranks stop, since when, and what."""
    stall = read_record(_Stall, folder / STALL)
    if stall is None:
        return {}
    return {"stops": stall.stops, "rank": stall.rank, "time": stall.time} | ({"what": stall.what} if stall.what else {})


def find_cause(folder: Path, rank: int, patience: float = PATIENCE_S) -> PeerFailed | None:
    """Who has failed first, for a rank whose own error is an echo; waits for the peer's word, which may be on its way.

    None where nobody says anything, and every peer of this machine is there.
    """
    end = time.monotonic() + patience
    while True:
        # The dead first: whoever is dead by now has left its word, if any, for the look after this one.
        dead = gone([beat for beat in read_heartbeats(folder) if beat.rank != rank], read_failures(folder))
        if failure := first_failure(folder):
            return PeerFailed(str(failure), fix=failure.fix, again=not failure.known)
        stall = read_stall(folder)
        if "what" in stall and stall["stops"]:
            return PeerFailed(stall["what"], again=True, state="hung")
        if dead:
            names = ", ".join(beat.name for beat in dead)
            return PeerFailed(f"{names} died without a word at {dead[0].place}: killed, or out of memory", again=True)
        if time.monotonic() > end:
            return None
        time.sleep(POLL_S)  # a file of another machine cannot be waited for in any other way


def gone(beats: Sequence[Heartbeat], failures: Sequence[Failure]) -> list[Heartbeat]:
    """Ranks of this machine whose process is dead and has said nothing."""
    told = {failure.rank for failure in failures}
    return [
        beat
        for beat in beats
        if beat.phase != ENDED and beat.rank not in told and process_is_gone(beat.space, beat.pid)
    ]

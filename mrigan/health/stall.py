"""Report a hang: the first rank that notices it reports which rank lags, and every rank writes evidence."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from mrigan.files import write_json
from mrigan.health.evidence import FLIGHT, STACKS, missing_messages, write_flight, write_stacks
from mrigan.health.failure import STALL, read_stall
from mrigan.health.heartbeat import MAX_MISSED, Heartbeat, lagging_ranks, rank_file, read_heartbeats, silent_ranks

log = logging.getLogger(__name__)

GATHER_S = 10.0  # that the first rank waits for the evidence of the others
POLL_S = 0.1


def report_stall(folder: Path, own: Heartbeat, idle: float, stops: bool) -> str:
    """Write this rank's evidence of a hang; the first rank that calls this also writes the report.

    Args:
        own: this rank's present heartbeat.
        idle: seconds without progress.
        stops: whether the ranks end after this.

    Returns:
        The report for the first rank; "" for the others, after the report was written.
    """
    first = _claim(folder, own, stops)
    write_stacks(folder, own.rank, f"{own.name} has made no progress for {idle:.0f} s: {own.place}")
    write_flight(folder, own.rank)
    if not first:
        _until(lambda: "what" in read_stall(folder), 2 * GATHER_S)
        return ""
    beats = [own, *(beat for beat in read_heartbeats(folder) if beat.rank != own.rank)]
    quiet = {beat.rank for beat in silent_ranks(beats)}
    writing = [beat.rank for beat in beats if beat.rank not in quiet]
    if stops:
        _until(lambda: all(rank_file(folder, rank, FLIGHT).exists() for rank in writing), GATHER_S)
    what = describe_stall(beats, idle, missing_messages(folder))
    log.error("%s; stacks and last messages of the ranks: %s", what, folder / f"rank-*{STACKS}")
    write_json(folder / STALL, {"what": what, "stops": stops, "rank": own.rank, "time": time.time()})
    return what


def describe_stall(
    beats: Sequence[Heartbeat], idle: float, short: Mapping[int, tuple[int, int]] = MappingProxyType({})
) -> str:
    """One line that says which rank lags, at which step and phase, for how long, and which rank waits for it.

    Args:
        beats: of all ranks; the first is that of the rank that noticed the hang.
        short: see `missing_messages`; used if all ranks are at the same step and phase.
    """
    own, late = beats[0], lagging_ranks(beats)
    if not late and (late := [beat for beat in beats if beat.rank in short]):
        names = "; ".join(
            f"{beat.name} lags at {beat.place}: it has started {short[beat.rank][0]} messages, others "
            f"{short[beat.rank][1]}" for beat in late[:4]
        )  # fmt: skip
        return f"no progress for {idle:.0f} s: {names}" + (f"; {len(late) - 4} more lag" if late[4:] else "")
    if not late:
        where = f"all {len(beats)} ranks are at {own.place}" if len(beats) > 1 else f"the run is at {own.place}"
        return f"no progress for {idle:.0f} s: {where}"
    newest = max(beat.time for beat in beats)
    names = "; ".join(_lags(beat, newest) for beat in late[:4]) + (f"; {len(late) - 4} more lag" if late[4:] else "")
    waits = "" if own in late else f"; rank {own.rank} waits at {own.place}"
    return f"no progress for {idle:.0f} s: {names}{waits}"


def _lags(beat: Heartbeat, newest: float) -> str:
    quiet = newest - beat.time
    sign = f", no sign of life for {quiet:.0f} s" if quiet > MAX_MISSED * beat.every_s else ""
    return f"{beat.name} lags at {beat.place}{sign}"


def _claim(folder: Path, own: Heartbeat, stops: bool) -> bool:
    """Whether this rank is the first to notice the hang."""
    before = read_stall(folder)
    if before and not before["stops"] and before["time"] < own.time - own.idle_s:
        (folder / STALL).unlink(missing_ok=True)  # of an earlier hang that has ended
    try:
        descriptor = os.open(folder / STALL, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        json.dump({"stops": stops, "rank": own.rank, "time": time.time()}, file)
    return True


def _until(ready: Callable[[], bool], patience: float) -> None:
    end = time.monotonic() + patience
    while not ready() and time.monotonic() < end:
        time.sleep(POLL_S)  # files of other machines

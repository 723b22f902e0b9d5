"""What a rank leaves for those who look into a hang: the stacks of its threads, its last messages to the others."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mrigan.files import write_json
from mrigan.health.failure import STALL
from mrigan.health.heartbeat import rank_file

log = logging.getLogger(__name__)

MESSAGES = 200  # of the flight recorder's, the last ones
EARLIER = 5  # starts whose evidence is kept
STACKS, FLIGHT = ".stacks.txt", ".flight.json"


def write_stacks(folder: Path, rank: int, heading: str) -> None:
    """All threads of this process, as Python sees them; the innermost call comes first."""
    path = rank_file(folder, rank, STACKS)
    with open(path, "w") as file:
        file.write(f"{time.strftime('%F %T')} {heading}\n\n")
        file.flush()
        faulthandler.dump_traceback(file, all_threads=True)


def write_flight(folder: Path, rank: int) -> None:
    """The last messages of gloo and of NCCL, with their number, size and state: the same on all ranks but one.

    PyTorch's flight recorder notes them anyway, 2,000 of them (TORCH_FR_BUFFER_SIZE).
    """
    from torch import _C

    c10d: Any = getattr(_C, "_distributed_c10d", None)
    told: dict[str, Any] = {}
    for name, function in (("gloo", "_dump_fr_trace_json"), ("nccl", "_dump_nccl_trace_json")):
        if hasattr(c10d, function):
            record = json.loads(getattr(c10d, function)())
            record["entries"] = record.get("entries", [])[-MESSAGES:]
            told[name] = record
    write_json(rank_file(folder, rank, FLIGHT), told)


def fewest_messages(folder: Path) -> dict[int, tuple[int, int]]:
    """From the dumps of all ranks: rank → (messages that it has begun, those of others), where it is short of any.

    It tells who is missing where all hosts stand at the same place: on GPUs they run ahead of the devices.
    """
    begun: dict[tuple[str, str], dict[int, int]] = {}
    for path in folder.glob(f"rank-*{FLIGHT}"):
        rank = int(path.name.removeprefix("rank-").partition(".")[0])
        try:
            for backend, record in json.loads(path.read_bytes()).items():
                for group, state in record.get("pg_status", {}).items():
                    begun.setdefault((backend, group), {})[rank] = int(state["last_enqueued_collective"])
        except (OSError, ValueError, KeyError, TypeError) as error:  # of another version of torch
            log.warning("%s cannot be read: %r", path, error)
    for counts in begun.values():
        most = max(counts.values())
        if short := {rank: (count, most) for rank, count in sorted(counts.items()) if count < most}:
            return short
    return {}


@contextmanager
def flight_recorder(folder: Path) -> Iterator[None]:
    """Have NCCL's own watchdog, too, leave its record in `folder` when a message takes too long; opens before a group.

    What is set in the environment already stays as it is.
    """
    wanted = {
        "TORCH_FR_BUFFER_SIZE": "2000",
        "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
        "TORCH_FR_DUMP_TEMP_FILE": str(folder.absolute() / "nccl-rank-"),
    }
    others = ("TORCH_NCCL_TRACE_BUFFER_SIZE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE")  # older names of the first and last
    added = {} if any(name in os.environ for name in others) else wanted.keys() - os.environ.keys()
    os.environ.update({name: wanted[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def clear(folder: Path) -> None:
    """Before a start: heartbeats go; what an earlier start left of a hang or an error is kept in `earlier-N`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [path for path in folder.iterdir() if path.is_file()]
    if any(path.name == STALL or path.name.endswith(".error.json") for path in files):
        kept = sorted(folder.glob("earlier-*"), key=_number)
        aside = folder / f"earlier-{_number(kept[-1]) + 1 if kept else 1}"
        aside.mkdir()
        for path in files:
            os.rename(path, aside / path.name)
        for old in kept[: max(0, len(kept) + 1 - EARLIER)]:
            shutil.rmtree(old)
    else:
        for path in files:
            path.unlink()


def _number(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])

"""The evidence of a hang that a rank writes: the stacks of its threads, and its last messages to other ranks."""

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

MAX_MESSAGES = 200  # the last ones of the flight recorder
MAX_EARLIER = 5  # starts whose evidence is kept
STACKS, FLIGHT = ".stacks.txt", ".flight.json"


def write_stacks(folder: Path, rank: int, heading: str) -> None:
    """Write the Python stacks of all threads of this process, the innermost call first."""
    path = rank_file(folder, rank, STACKS)
    with open(path, "w") as file:
        file.write(f"{time.strftime('%F %T')} {heading}\n\n")
        file.flush()
        faulthandler.dump_traceback(file, all_threads=True)


def write_flight(folder: Path, rank: int) -> None:
    """Write the last messages of gloo and NCCL with their number, size and state, to see which rank differs.

    They come from PyTorch's flight recorder, which stores 2,000 messages (TORCH_FR_BUFFER_SIZE).
    """
    from torch import _C

    c10d: Any = getattr(_C, "_distributed_c10d", None)
    records: dict[str, Any] = {}
    for name, function in (("gloo", "_dump_fr_trace_json"), ("nccl", "_dump_nccl_trace_json")):
        if hasattr(c10d, function):
            record = json.loads(getattr(c10d, function)())
            record["entries"] = record.get("entries", [])[-MAX_MESSAGES:]
            records[name] = record
    write_json(rank_file(folder, rank, FLIGHT), records)


def missing_messages(folder: Path) -> dict[int, tuple[int, int]]:
    """Rank → (messages it has started, messages other ranks have started), for ranks that started fewer.

    It finds the lagging rank if all hosts are at the same step and phase: on GPUs, hosts run ahead of the devices.
    """
    begun: dict[tuple[str, str], dict[int, int]] = {}
    for path in folder.glob(f"rank-*{FLIGHT}"):
        rank = int(path.name.removeprefix("rank-").partition(".")[0])
        try:
            for backend, record in json.loads(path.read_bytes()).items():
                for group, state in record.get("pg_status", {}).items():
                    begun.setdefault((backend, group), {})[rank] = int(state["last_enqueued_collective"])
        except (OSError, ValueError, KeyError, TypeError) as error:  # for example another version of torch
            log.warning("%s cannot be read: %r", path, error)
    for counts in begun.values():
        most = max(counts.values())
        if short := {rank: (count, most) for rank, count in sorted(counts.items()) if count < most}:
            return short
    return {}


@contextmanager
def flight_recorder(folder: Path) -> Iterator[None]:
    """Let NCCL's watchdog write its flight record to `folder` if a message takes too long. Enter before process groups.

    Variables that are already set do not change.
    """
    settings = {
        "TORCH_FR_BUFFER_SIZE": "2000",
        "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
        "TORCH_FR_DUMP_TEMP_FILE": str(folder.absolute() / "nccl-rank-"),
    }
    old_names = ("TORCH_NCCL_TRACE_BUFFER_SIZE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE")  # of the first and the last
    added = {} if any(name in os.environ for name in old_names) else settings.keys() - os.environ.keys()
    os.environ.update({name: settings[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def clear(folder: Path) -> None:
    """Clear the health folder before a start; files of an earlier hang or error are moved to `earlier-N`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [path for path in folder.iterdir() if path.is_file()]
    if any(path.name == STALL or path.name.endswith(".error.json") for path in files):
        kept = sorted(folder.glob("earlier-*"), key=_number)
        aside = folder / f"earlier-{_number(kept[-1]) + 1 if kept else 1}"
        aside.mkdir()
        for path in files:
            os.rename(path, aside / path.name)
        for old in kept[: max(0, len(kept) + 1 - MAX_EARLIER)]:
            shutil.rmtree(old)
    else:
        for path in files:
            path.unlink()


def _number(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])

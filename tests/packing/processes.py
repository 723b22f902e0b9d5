"""Builds as processes of their own, to be killed at chosen moments."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

BUILD = [sys.executable, "-m", "mrigan.cli", "shards", "build"]


def start(folder: Path | str, *options: object, **process: object) -> subprocess.Popen[str]:
    """A build in a process group of its own, by two workers unless `options` say else."""
    words = [str(word) for word in (*BUILD, folder, *(options or ("--workers", 2)))]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, start_new_session=True, text=True, stderr=pipe, stdout=pipe, **process)  # type: ignore[call-overload]


def workers(pid: int) -> list[int]:
    """The processes below `pid` that build shards: those of its fork server."""
    return [grandchild for child in children(pid) for grandchild in children(child)]


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def server(pid: int) -> list[int]:
    """The process that the workers of `pid` are forked from, if it has begun."""
    return [child for child in children(pid) if b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes()]


def wait_for(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    """Until something happened, or the build has ended."""
    while not happened() and process.poll() is None:
        threading.Event().wait(0.002)


def gone(pids: list[int]) -> None:
    """Until these processes have ended, orphans by themselves."""
    while any(alive(pid) for pid in pids):
        threading.Event().wait(0.01)


def files(folder: Path) -> int:
    """How many files are in a folder and below it."""
    return sum(len(names) for _, _, names in os.walk(folder))

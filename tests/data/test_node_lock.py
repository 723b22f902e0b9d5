"""One process of a node stages, the others wait; a process that stands still or fails is named."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mrigan.data import node_lock
from mrigan.errors import ShardError

HOLD = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(descriptor, fcntl.LOCK_EX)
os.pwrite(descriptor, str(os.getpid()).encode(), 0)
print("held", flush=True)
sys.stdin.readline()
if len(sys.argv) > 2:
    open(sys.argv[2], "w").write('{"what": "no room", "where": "there", "fix": "make some"}')
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Another process that holds the lock of a folder until it is told to go on."""
    started = []

    def hold(*args: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, *map(str, args)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_a_stager_that_stands_still_is_named(
    holder: Callable[..., subprocess.Popen[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = holder(tmp_path / ".lock")
    monkeypatch.setattr(node_lock, "MAX_STALL_S", 0.3)
    with (
        pytest.raises(ShardError, match=rf"process {process.pid} of this node(.|\n)*stood still"),
        node_lock.one_on_the_node(tmp_path),
    ):
        pass


def test_who_waited_for_a_failure_fails_alike(
    holder: Callable[..., subprocess.Popen[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = holder(tmp_path / ".lock", tmp_path / ".failed.json")
    lockf, tried = fcntl.lockf, []

    def watched(descriptor: int, how: int) -> None:
        tried.append(how)
        if len(tried) == 2 and process.poll() is None:  # it has waited: let the holder fail
            process.communicate("\n")
        lockf(descriptor, how)

    monkeypatch.setattr(fcntl, "lockf", watched)
    with pytest.raises(ShardError, match=r"no room\n.*there\n.*make some"), node_lock.one_on_the_node(tmp_path):
        pass
    with node_lock.one_on_the_node(tmp_path):  # who comes later tries for itself
        assert not (tmp_path / ".failed.json").exists()
    with pytest.raises(ShardError, match="mine"), node_lock.one_on_the_node(tmp_path):
        raise ShardError("mine", where="here", fix="so")
    assert json.loads((tmp_path / ".failed.json").read_text()) == {"what": "mine", "where": "here", "fix": "so"}


def test_a_beat_keeps_those_who_wait(tmp_path: Path) -> None:
    with node_lock.one_on_the_node(tmp_path) as beat:
        os.utime(tmp_path / ".lock", (1, 1))
        beat()
        assert (tmp_path / ".lock").stat().st_mtime > 1

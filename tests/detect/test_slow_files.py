"""A file that nobody comes back from is undecided, in words; the files beside it are judged, and Ctrl-C is answered."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrigan import time_limit
from mrigan.detect import Judge, detect_paths, judge, worker_pool
from mrigan.detect.command import run
from mrigan.detect.findings import Findings
from mrigan.detect.inputs import Input, expand
from mrigan.detect.options import Options
from mrigan.errors import InputError
from tests.detect.schema import check
from tests.hanging import hanging

DETECT = [sys.executable, "-m", "mrigan.cli", "detect"]
NAMES = ("face.png", "one.mp4", "two.mp4")


@pytest.fixture
def folder(clips: Path, tmp_path: Path) -> Path:
    """A picture, and two videos of which the first is to hang."""
    (tmp_path / "in").mkdir()
    for name in NAMES:
        shutil.copy(clips / name, tmp_path / "in" / name)
    return tmp_path / "in"


FIND, WORKER = judge.find, worker_pool._worker


def find_or_hang(item: Input, *rest: Any) -> Findings:
    """As `find`; one.mp4 hangs in the kernel: it reads a pipe that nobody writes into."""
    if item.path.endswith("one.mp4"):
        open(Path(item.path).with_name(".pipe")).close()
    return FIND(item, *rest)


def hanging_worker(*setup: Any) -> Callable[..., Any]:
    judge.find = find_or_hang
    return WORKER(*setup)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_hangs_is_unreadable_and_hangs_no_other(
    folder: Path, models: dict[str, Path], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one process, where a thread is left behind; by two, where a worker is killed."""
    plain = {Path(v.path).name: v.to_json() for v in detect_paths([folder], models["fake"])}
    os.mkfifo(folder / ".pipe")
    monkeypatch.setattr(judge, "find", find_or_hang)
    monkeypatch.setattr(worker_pool, "_worker", hanging_worker)
    watched = Judge(models["fake"], Options(seconds_per_file=4))
    inputs = expand([folder])[0]
    pool = worker_pool.JudgePool(watched, 2)
    judged = [one for _, one in pool.each(inputs)] if workers > 1 else list(watched.each(inputs))
    if workers == 1:
        assert [one.verdict.path for one in judged] == [item.path for item in inputs]
        [thread] = [thread for thread in time_limit._left_behind if thread.is_alive()]
        os.close(os.open(folder / ".pipe", os.O_WRONLY))
        thread.join()  # it comes back after all, and gives nothing
    verdicts = [one.verdict.to_json() for one in judged]
    check(verdicts)
    found = {Path(v["path"]).name: v for v in verdicts}
    late = found.pop("one.mp4")
    assert (late["verdict"], late["reason"], late["input"]) == ("undecided", "unreadable", None)
    assert "took longer than 4 s on this machine" in late["not_analysed"][0]["detail"]
    assert found == {name: plain[name] for name in ("face.png", "two.mp4")}


@pytest.mark.faults  # a lease holds for 45 s: a busy machine may take as long to load a model
def test_a_dead_file_is_unreadable(folder: Path, models: dict[str, Path], tmp_path: Path) -> None:
    """None of the places hangs that look at an input: its kind, its frames, the faces in it, its SHA-256."""
    out = tmp_path / "out.json"
    command = [*DETECT, folder, "--model", models["fake"], "--json", out, "--workers", 1, "--seconds-per-file", 6]
    with hanging(folder / "one.mp4"):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    verdicts = {Path(v["path"]).name: v["reason"] for v in json.loads(out.read_text())}
    assert [name for name, reason in verdicts.items() if reason == "unreadable"] == ["one.mp4"]


@pytest.mark.faults
def test_ctrl_c_is_answered_while_a_file_hangs(folder: Path, models: dict[str, Path], tmp_path: Path) -> None:
    journal = tmp_path / "out.jsonl"
    command = [*DETECT, folder / "face.png", folder / "one.mp4", "--model", models["fake"], "--jsonl", journal]
    with hanging(folder / "one.mp4"):
        process = subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True)
        while not journal.exists() or not waits(process.pid):
            assert process.poll() is None
            threading.Event().wait(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)  # a lease holds for 45 s
    assert process.returncode in (75, -signal.SIGINT), said


def waits(pid: int) -> bool:
    """Whether a thread of the process waits in the kernel for a lease: it is opening the file."""
    try:
        return any("lease" in (task / "wchan").read_text() for task in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return False


@pytest.mark.parametrize("start", [b"", b"\xff\xd8\xff\xe0", b"RIFF\xff\xff\xff\x7fWEBPVP8 ", b"\0\0\0\x20ftypisom"])
def test_a_huge_file_of_holes_is_refused_without_being_read(
    models: dict[str, Path], tmp_path: Path, start: bytes
) -> None:
    path, size = tmp_path / "huge.mp4", 50 * 2**30
    path.write_bytes(start)
    os.truncate(path, size)
    before = read_by_this_process()
    [verdict] = [one.to_json() for one in detect_paths([path], models["fake"])]
    check([verdict])
    assert verdict["reason"] == "unreadable"
    assert verdict["input"]["bytes"] == size
    assert read_by_this_process() - before < 2**28


def read_by_this_process() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_a_list_that_is_no_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "list"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(InputError, match=f"not a regular file but a .*{kind}"):
        expand([f"@{path}"])


def test_no_thread_is_left_behind_by_files_that_answer(folder: Path, models: dict[str, Path]) -> None:
    before = threading.active_count()
    assert run([str(folder)], str(models["fake"]), Options(), workers=1) == 0
    assert threading.active_count() == before

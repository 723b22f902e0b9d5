"""Worker processes: one that dies takes its task along and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mrigan.workers.pool import Died, Done, run_tasks
from tests.workers.toys import setup


def outcomes(folder: Path, tasks: list[tuple[str, int]], **options: Any) -> list[Done | Died]:
    """What became of the tasks at last."""
    events = run_tasks(setup, (folder,), tasks, **{"workers": 2} | options)
    return [e for e in events if isinstance(e, Done) or (isinstance(e, Died) and not e.again)]


def test_all_tasks_are_done_by_other_processes(tmp_path: Path) -> None:
    done = outcomes(tmp_path, [("work", i) for i in range(20)])
    assert sorted(o.result[0] for o in done if isinstance(o, Done)) == list(range(20))
    pids = {o.result[1] for o in done if isinstance(o, Done)}
    assert os.getpid() not in pids
    assert len(pids) <= 2


def test_a_task_that_kills_its_worker_is_tried_again_and_then_given_back(tmp_path: Path) -> None:
    tasks = [("work", 0), ("die", 1), ("die once", 2), ("exit", 3), ("work", 4)]
    found = {o.task: o for o in outcomes(tmp_path, tasks)}
    assert {task for task, o in found.items() if isinstance(o, Done)} == {("work", 0), ("die once", 2), ("work", 4)}
    died = found["die", 1]
    assert isinstance(died, Died)
    assert "SIGKILL" in died.reason
    assert died.note == "about to die"
    assert (tmp_path / "die-1").read_bytes() == b"xx"
    gone = found["exit", 3]
    assert isinstance(gone, Died)
    assert "exit code 7" in gone.reason


def test_an_exception_comes_back_with_its_traceback(tmp_path: Path) -> None:
    """It takes nothing else along."""
    found = outcomes(tmp_path, [("raise", 0)] + [("work", i) for i in range(1, 5)])
    assert {o.task for o in found if isinstance(o, Done)} == {("work", i) for i in range(1, 5)}
    (died,) = (o for o in found if isinstance(o, Died))
    assert isinstance(died.error, OSError)
    assert died.error.errno == 28
    assert "toys.py" in "".join(died.error.__notes__)
    assert (died.reason, died.note) == ("OSError: [Errno 28] No space left on device", "about to raise")
    assert (tmp_path / "raise-0").read_bytes() == b"xx"


def test_an_exception_that_cannot_be_pickled_is_told_too(tmp_path: Path) -> None:
    (died,) = outcomes(tmp_path, [("raise oddly", 0)])
    assert isinstance(died, Died)
    assert died.reason == "RuntimeError: Odd: half of it"


def test_a_stop_ends_workers_at_their_task(tmp_path: Path) -> None:
    waiting = tmp_path / "waiting"
    assert outcomes(tmp_path, [("wait", 0), ("wait", 1)], stop=waiting.exists) == []


def test_a_worker_that_hangs_at_a_file_is_killed_and_takes_nothing_else(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    tasks = [("read", 0), ("read in turns", 1), ("work", 2), ("work", 3)]
    found = {o.task: o for o in outcomes(tmp_path, tasks, seconds_per_file=2)}
    late = found.pop(("read", 0))
    assert isinstance(late, Died)
    assert late.late is not None
    assert late.late.file == str(tmp_path / "pipe")
    assert late.late.seconds > 2
    assert (late.again, late.error, late.note) == (False, None, "about to read")
    assert (tmp_path / "read-0").read_bytes() == b"x"  # not tried again
    assert all(isinstance(o, Done) for o in found.values())  # three seconds, but less than two at each file
    assert len(found) == 3

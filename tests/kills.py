"""Kill a piece of work at each of its failpoints in turn, or fill the disk there, and see it go on to the same bytes.

script("...; same_after_each(work, root)")    loads everything first: the work runs in forks of it
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from mrigan.errors import MriganError
from mrigan.files import FAILPOINT

ROOT = Path(__file__).parents[1]
MOST = 1000
FULL = 28  # exit code of work that met a full disk, and said so


def same_after_each(
    work: Callable[[Path], object], root: Path, name: str = "", *, least: int, full: bool = False,
    start: Callable[[Path], object] = lambda folder: None, see: Callable[[Path], object] = lambda folder: None,
) -> None:  # fmt: skip
    """`work(folder)`, begun again after a kill at each failpoint, leaves the files that it leaves undisturbed.

    Args:
        root: an empty folder.
        name: how the failpoints begin. least: how many there must be.
        full: the disk is full there instead, which must be an error in words, and leave nothing half-written.
        start: prepares an empty folder. see: looks at what a kill left.
    """
    folder, whole = root / "killed", root / "whole"
    start(whole)
    assert _ended(lambda: work(whole), "") == 0

    def begin() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        start(folder)

    def check() -> None:
        if full:
            assert not [path for path in folder.rglob(".*.tmp") if path.is_file()]
        see(folder)
        assert _ended(lambda: work(folder), "") == 0
        assert tree(folder) == tree(whole), sorted(set(tree(folder).items()) ^ set(tree(whole).items()))

    count = kill_at_each(lambda: work(folder), begin, check, name, full)
    assert count >= least, count
    sys.stdout.write(f"{count} failpoints\n")


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 by relative path, of all but locks and the log of a shard folder, which tells times."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path): hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in files
            if "log" not in path.parts}  # fmt: skip


def script(text: str, *arguments: object) -> None:
    """Run Python in a process of its own, from the clone's root; it must end well."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", text, *map(str, arguments)]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "Traceback" not in done.stderr


def kill_at_each(
    work: Callable[[], object],
    begin: Callable[[], object],
    check: Callable[[], object],
    name: str = "",
    full: bool = False,
) -> int:
    """For each failpoint whose name begins with `name`: begin, work until it is reached and the process killed, check.

    Returns:
        How many there were.
    """
    for number in range(1, MOST):
        begin()
        ended = _ended(work, f"{name} {number}{' full' if full else ''}")
        if ended == 0:
            return number - 1
        assert ended == (FULL if full else -signal.SIGKILL), ended
        check()
    raise AssertionError("too many failpoints")


def _ended(work: Callable[[], object], failpoint: str) -> int:
    """The exit code of the work in a fork, `FULL` where it met a full disk and said so."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.environ[FAILPOINT] = failpoint
        code = 1
        try:
            work()
            code = 0
        except (OSError, MriganError) as error:
            text = str(error).lower()
            if "no space" in text or "no room" in text or getattr(error, "errno", 0) == errno.ENOSPC:
                code = FULL
            else:
                traceback.print_exc()
        except BaseException:  # noqa: BLE001 (of a fork: nothing of the parent's may run)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
